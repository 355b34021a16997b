"""Multi-scale against baseline MLP on MNIST (the paper's appendix), with two fair controls.

    msae reproduce mnist-multiscale --seeds 3    about 6 minutes on two CPU cores

Expected: test MSE 0.0042 (multi-scale), 0.0064 (baseline), 0.0041 (matched latent), 0.0060 (matched
parameters): the gain looks like the larger latent. No number was published for
these models. The paper's text says of MNIST that multi-scale has a 22% lower error, but its table
and checkpoints are of 1-D signals (the study `sines`). Multi-scale has twice the baseline's latent
(128 against 64) and 17% more parameters: one control is a baseline with its latent size, another
one with its parameters.

Figures: loss curves, test errors by seed, test images and their reconstructions.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from msae_jax import data, figures
from msae_jax.experiments.study import (
    Setup,
    captions,
    final_claim,
    finite,
    parameter_claim,
    reconstructions,
)
from msae_jax.fitting.ensemble import Ensemble
from msae_jax.recipes import recipe
from msae_jax.results import compare, controls
from msae_jax.results.claims import Claim

MSAE, BASELINE = "msae-mlp", "baseline-mlp"
CONTROLS = {"matched latent": "latent", "matched parameters": "params"}  # of the baseline

PUBLISHED_REDUCTION = 22.0  # percent, the paper's text
LAYER_SIZES = {MSAE: 510_480, BASELINE: 435_536}  # parameters of the layers that the paper lists
IMAGES = 10


def reproduce(setup: Setup) -> list[Claim]:
    """Trains both models and the two controls; prints the errors and the verdicts."""
    found = {name: setup.train(name, recipe(name)) for name in (MSAE, BASELINE)}
    control, target = recipe(BASELINE), recipe(MSAE).model
    dataset = setup.dataset(control)
    for name, what in CONTROLS.items():
        sized = controls.match(control.model, target, what, dataset.sample_shape)
        found[name] = setup.train(f"baseline-{what}", replace(control, model=sized))
    verdicts = _verdicts(found) if setup.seeds > 1 else []
    _draw(setup, found, dataset)
    stated = setup.finish(
        "mnist-multiscale",
        _claims(found),
        found,
        verdicts=[verdict.to_dict() for verdict in verdicts],
    )
    for verdict in verdicts:
        print(f"\n{verdict}")
    return stated


def _claims(found: dict[str, Ensemble]) -> list[Claim]:
    label = figures.label
    return [
        _reduction(
            "reduction",
            found,
            BASELINE,
            PUBLISHED_REDUCTION,
            source="the paper's text",
            effect=True,
            why="the text says MNIST, the paper's numbers are of 1-D signals; latents 128 and 64",
        ),
        *(_reduction(f"reduction-{what}", found, name) for name, what in CONTROLS.items()),
        *(
            final_claim(
                f"{name.replace(' ', '-')}-test-mse",
                f"test error of {label(name)}",
                done,
                "test_mse",
                None,
                "MSE per value",
            )
            for name, done in found.items()
        ),
        *(
            parameter_claim(
                f"{name}-parameters",
                f"parameters of {label(name)}",
                found[name],
                count,
                source="the paper's appendix, layer sizes",
            )
            for name, count in LAYER_SIZES.items()
        ),
    ]


def _reduction(
    id: str, found: dict[str, Ensemble], other: str, published: float | None = None, **more: Any
) -> Claim:
    a, b = (found[name].final("test_mse") for name in (MSAE, other))
    percent = 100 * (1 - a / b)
    values = finite(percent)
    return Claim(
        id,
        f"error of multi-scale MLP below {figures.label(other)}, same seed",
        published,
        "percent",
        values.tolist(),
        diverged=len(percent) - len(values),
        **more,
    )


def _verdicts(found: dict[str, Ensemble]) -> list[compare.Verdict]:
    sides = {name: compare.side_of(done, name=name) for name, done in found.items()}
    msae = sides[MSAE]
    return [
        compare.compare(msae, sides[BASELINE], published_percent=PUBLISHED_REDUCTION),
        *(compare.compare(msae, sides[name]) for name in CONTROLS),
    ]


def _draw(setup: Setup, found: dict[str, Ensemble], dataset: data.Dataset) -> None:
    curves = {name: done.metrics("train_loss") for name, done in found.items()}
    figures.save(figures.loss_curves(curves), setup.out / "loss_curves")
    final = {name: finite(done.final("test_mse")) for name, done in found.items()}
    figures.save(figures.seed_points(final), setup.out / "test_errors")
    x = np.asarray(dataset.test.x)[:IMAGES]
    made, errors = reconstructions(found, x)
    figure = figures.image_rows({"original": x / 255, **made}, captions=captions(errors))
    figures.save(figure, setup.out / "reconstructions")
