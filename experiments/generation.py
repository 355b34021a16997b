"""Which autoencoder generates best, and at what cost in reconstruction: seven methods, three sets.

    msae reproduce generation --seeds 3        76 minutes on two CPU cores

An autoencoder with three fitted priors, a VAE, a beta-VAE, WAE-MMD, an adversarial autoencoder, a
VAE-GAN and a conditional VAE, with equal layers and latents, on MNIST, Fashion-MNIST and CIFAR-10.
Of CIFAR-10 pictures may stand for the official files (`generation_data`), which every number then
says. Settings are in `generation_methods`, measures in `generation_measures`, the rule of the
verdicts in `generation_verdicts`; all were written down before any of these models was trained on
all training images.

The time is that of the processors: 151 minutes of one core of an Intel Xeon at 2.5 GHz, files read,
programs compiled and samples measured, for runs that go side by side, a process each.

No number of this kind was published: ours stand alone. With 3 seeds no difference can be told from
chance (`generation_verdicts`), which the verdicts say; 11 seeds could.

Figures: samples side by side, Fréchet distance, the same against the error of reconstruction,
precision against recall, what discriminators and models lost to each other.
"""

from __future__ import annotations

import functools
from dataclasses import replace

import jax

from msae_jax import figures
from msae_jax.experiments import generation_figures as drawings
from msae_jax.experiments.generation_claims import Studied, claims_of, verdict_of
from msae_jax.experiments.generation_data import Images, read
from msae_jax.experiments.generation_measures import BySeed, measured
from msae_jax.experiments.generation_methods import (
    LONGEST_FIRST,
    METHODS,
    QUICK_SETS,
    SETS,
    configuration,
    run_name,
)
from msae_jax.experiments.study import Setup
from msae_jax.fitting.ensemble import Ensemble
from msae_jax.results.claims import Claim
from msae_jax.system import side_by_side


def reproduce(setup: Setup) -> list[Claim]:
    """Trains and measures all methods on all data sets; prints who generates best."""
    chosen = QUICK_SETS if setup.quick else tuple(SETS)
    opened = {key: read(setup, key) for key in chosen}  # or an error, before anything is trained
    if setup.side_by_side and jax.default_backend() == "cpu":
        # What is trained and measured is kept on disk: below it is found. CIFAR-10 takes longest.
        pairs = [(key, method) for method in LONGEST_FIRST for key in reversed(chosen)]
        side_by_side.run([functools.partial(run, setup, key, method) for key, method in pairs])
        setup = replace(setup, fresh=False)
    every = [_studied(setup, key, images) for key, images in opened.items()]
    stated = [claim for studied in every for claim in claims_of(studied)]
    verdicts = [found for studied in every if (found := verdict_of(studied)) is not None]
    stated += [claim for claim, _, _ in verdicts]
    for name, figure in drawings.draw(every).items():
        figures.save(figure, setup.out / name)
    trained = {
        run_name(studied.key, method): done
        for studied in every
        for method, done in studied.trained.items()
    }
    setup.finish("generation", stated, trained, verdicts=[values for _, values, _ in verdicts])
    for _, _, text in verdicts:
        print(f"\n{text}")
    return stated


def run(setup: Setup, key: str, method: str) -> None:
    """Trains and measures one method on one data set, in a process of its own."""
    _trained(setup, key, method, read(setup, key))


def _trained(setup: Setup, key: str, method: str, images: Images) -> tuple[Ensemble, BySeed]:
    dataset = images.given_to(method)
    settings = configuration(key, method, dataset.name, images.dataset.sample_shape)
    done = setup.train(run_name(key, method), settings, dataset)
    return done, measured(setup, key, method, images, done)


def _studied(setup: Setup, key: str, images: Images) -> Studied:
    parts = {method: _trained(setup, key, method, images) for method in METHODS}
    trained = {method: done for method, (done, _) in parts.items()}
    found = {method: by_seed for method, (_, by_seed) in parts.items()}
    return Studied(key, images, setup.quick, trained, found)
