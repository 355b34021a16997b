"""Autoencoders of time series: reconstruction, anomalies, augmentation, forecasts, classes.

    msae reproduce time-series --data-dir FOLDER --seeds 8

It takes about 55 minutes on two cores of an Intel Xeon: the parts run side by side, as small
programs keep one core busy and a second one hardly. Of them the reconstruction, always of 16 seeds
or more, and the training of L-GTA take 25 minutes of one core each. On average
over the seeds, the pyramid rebuilds series with 1 to 41% less error than at one scale, but beats
the dense model and PCA, too, on none of four sets; over seven series of NAB autoencoders reach a
mean VUS-PR of 0.50 to 0.51, PCA 0.45, and the best of 32 published methods 0.41; L-GTA's published
distances are reproduced for two of three transforms, its ratios are not; latents never help a ridge
forecast that sees the raw lags.

The parts are `series_reconstruction`, `series_detection`, `series_augmentation` and
`series_features`; each states the published numbers beside ours, and checks its protocol by numbers
that no training enters. The series are not shipped: `series_files` says where each comes from.
"""

from __future__ import annotations

import functools
from dataclasses import replace

import jax

from msae_jax.experiments import (
    series_augmentation,
    series_detection,
    series_features,
    series_files,
    series_reconstruction,
)
from msae_jax.experiments.study import Setup
from msae_jax.results.claims import Claim
from msae_jax.system import side_by_side

PARTS = (series_reconstruction, series_detection, series_augmentation, series_features)
LONGEST_FIRST = (series_augmentation, series_reconstruction, series_detection, series_features)


def reproduce(setup: Setup) -> list[Claim]:
    """Runs the four parts, prints the ledger, and draws the figures."""
    folder = series_files.folder(setup.data_dir)
    if setup.side_by_side and jax.default_backend() == "cpu":
        # What the parts train and measure is kept on disk: below they find it.
        side_by_side.run([functools.partial(part.run, setup, folder) for part in LONGEST_FIRST])
        setup = replace(setup, fresh=False)
    parts = [part.run(setup, folder) for part in PARTS]
    stated = [claim for claims, _ in parts for claim in claims]
    trained = {name: done for _, runs in parts for name, done in runs.items()}
    return setup.finish("time-series", stated, trained)
