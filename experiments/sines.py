"""Multi-scale against baseline autoencoder on synthetic 1-D signals (Table I of the paper).

    msae reproduce sines --seeds 8          about one and a half minutes on two CPU cores
    msae reproduce sines --seeds 64         about ten minutes

Expected over 64 seeds, mean and standard deviation: test MSE 0.0039 +- 0.0006 (multi-scale), 0.0041
+- 0.0003 (baseline), 0.0028 +- 0.0002 (a baseline with as many parameters as the multi-scale model,
which shows what of a difference is size); the published 0.00348 and 0.00425 are one seed. The claim
of 22% is not reproduced: 5.0%.

Figures: loss curves, test errors by seed, test signals and their reconstructions.

The published numbers are those of the project's own checkpoints and loss files; the paper's text
says MNIST and 22%, its table and checkpoints are of these signals and 18.1%.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from msae_jax import data, figures, models
from msae_jax.experiments.study import (
    Setup,
    final_claim,
    finite,
    loss_claims,
    parameter_claim,
    reconstructions,
)
from msae_jax.fitting.ensemble import Ensemble
from msae_jax.recipes import recipe
from msae_jax.results import compare, controls
from msae_jax.results.claims import Claim

MODELS = ("msae", "baseline")

PUBLISHED_TEST_MSE = {"msae": 0.0034824131056666375, "baseline": 0.004252883847802877}
PUBLISHED_REDUCTION = 22.0  # percent, the paper's text; its own two numbers give 18.1

# Training loss per epoch: the mean over batches of the batch's MSE.
PUBLISHED_CURVES = {
    "msae": [
        0.518789, 0.186273, 0.164294, 0.120474, 0.078939, 0.037114, 0.016418, 0.011246, 0.010437,
        0.009724, 0.009195, 0.008742, 0.008050, 0.007174, 0.006290, 0.005418, 0.004999, 0.004129,
        0.004000, 0.003709,
    ],
    "baseline": [
        0.445810, 0.163440, 0.091659, 0.037970, 0.019776, 0.015584, 0.013525, 0.011947, 0.010520,
        0.009309, 0.008419, 0.007748, 0.006970, 0.006380, 0.005832, 0.005336, 0.005004, 0.004818,
        0.004526, 0.004301,
    ],
}  # fmt: skip

WHY = {
    "msae": "seed 42 alone, whose curve rounding alone moves by 5% (`msae replay sines`)",
    "baseline": "seed 42 alone: from its PyTorch weights `msae replay sines` gives it to 0.01%",
}

CONTROL = "matched parameters"
TABLE = "Table I"


def reproduce(setup: Setup) -> list[Claim]:
    """Trains both models and the matched control; prints Table I and the verdicts."""
    found = {name: setup.train(name, recipe(name)) for name in MODELS}
    dataset = setup.dataset(recipe("baseline"))
    control = recipe("baseline")
    target = recipe("msae").model
    sized = controls.match(control.model, target, "params", dataset.sample_shape)
    found[CONTROL] = setup.train("baseline-matched", replace(control, model=sized))
    verdicts = _verdicts(found) if setup.seeds > 1 else []
    _draw(setup, found, dataset)
    stated = setup.finish(
        "sines", _claims(found), found, verdicts=[verdict.to_dict() for verdict in verdicts]
    )
    for verdict in verdicts:
        print(f"\n{verdict}")
    return stated


def _claims(found: dict[str, Ensemble]) -> list[Claim]:
    stated = [
        final_claim(
            f"{name}-test-mse",
            f"test error of {figures.label(name)}",
            found[name],
            "test_mse",
            PUBLISHED_TEST_MSE[name],
            "MSE per value",
            source=TABLE,
        )
        for name in MODELS
    ]
    a, b = (found[name].final("test_mse") for name in MODELS)
    reduction = 100 * (1 - a / b)
    for id, published, source, why in (
        ("reduction", PUBLISHED_REDUCTION, "the paper's text", "its own table gives 18.1%"),
        ("reduction-table", 18.1, TABLE, "one seed, 42; the models differ in size"),
    ):
        stated.append(
            Claim(
                id,
                "error of multi-scale below baseline, same seed",
                published,
                "percent",
                finite(reduction).tolist(),
                source=source,
                effect=True,
                why=why,
                diverged=int((~np.isfinite(reduction)).sum()),
            )
        )
    for name in MODELS:
        curve = PUBLISHED_CURVES[name]
        stated += loss_claims(
            name, found[name], curve, "MSE per value", source="loss files", why=WHY[name]
        )
        stated.append(
            parameter_claim(
                f"{name}-parameters",
                f"parameters of {figures.label(name)}",
                found[name],
                models.record(name).parameters,
                source="checkpoints",
            )
        )
    stated.append(
        final_claim(
            "control-test-mse",
            "test error of a baseline with as many parameters as multi-scale",
            found[CONTROL],
            "test_mse",
            None,
            "MSE per value",
        )
    )
    return stated


def _verdicts(found: dict[str, Ensemble]) -> list[compare.Verdict]:
    sides = {name: compare.side_of(done, name=name) for name, done in found.items()}
    msae = sides["msae"]
    return [
        compare.compare(msae, sides["baseline"], published_percent=PUBLISHED_REDUCTION),
        compare.compare(msae, sides[CONTROL]),
    ]


def _draw(setup: Setup, found: dict[str, Ensemble], dataset: data.Dataset) -> None:
    curves = {name: found[name].metrics("train_loss") for name in MODELS}
    figures.save(figures.loss_curves(curves, PUBLISHED_CURVES), setup.out / "loss_curves")
    final = {name: finite(done.final("test_mse")) for name, done in found.items()}
    figures.save(figures.seed_points(final, PUBLISHED_TEST_MSE), setup.out / "test_errors")
    x = np.asarray(dataset.test.x)[:8]
    made, errors = reconstructions({name: found[name] for name in MODELS}, x)
    figure = figures.signal_grid({"original": x, **made}, errors=errors)
    figures.save(figure, setup.out / "reconstructions")
