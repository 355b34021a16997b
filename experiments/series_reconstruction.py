"""How well a residual pyramid reconstructs real series: beside its control, a dense model and PCA.

Five settings: heart beats (ECG5000) at 8 and at 32 latents, taxi rides in New York (NAB), the oil
temperature of ETTh1, and the series 135 of the UCR anomaly archive. Each window has mean 0 and
deviation 1; series are split in time, so that no test window shares a point with a training one.

`pyramid` is compared with the same levels at one scale, with a dense model, both of as many
parameters, and with principal components; all have as many latents, and the same 2,000 steps of
Adam at 1e-3 in batches of 64. Nothing was tuned: pools and widths are the models' defaults, the
rest was fixed before any of these test errors was computed.

The comparisons are paired by seed over at least 16 seeds, whatever the study's number, and their p
is corrected for all of them by Holm's method.

Figure: test error of each model relative to PCA's, by setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np

from msae_jax import figures
from msae_jax.analysis import paired
from msae_jax.config import ModelConfig, TrainConfig
from msae_jax.data import Dataset, Split
from msae_jax.data import series as series_data
from msae_jax.data.options import Options
from msae_jax.data.series.series import single
from msae_jax.experiments import series_features_classes as classes
from msae_jax.experiments.cache import per_seed
from msae_jax.experiments.study import Setup, finite, ours_alone
from msae_jax.fitting.ensemble import Ensemble
from msae_jax.results import controls
from msae_jax.results.claims import Claim
from msae_jax.train.evaluation import evaluate

LEAST_SEEDS = 16
STEPS, BATCH_SIZE = 2000, 64
QUICK_SETTINGS = ("ecg5000-8",)
RIVALS = ("pyramid-flat", "baseline", "pca")
LEVEL = 0.01  # of the corrected p


class Setting(NamedTuple):
    """A data set and the latents that models have on it.

    Attributes:
      file: below the folder of the series. channel: of a table. window, stride: in points.
    """

    words: str
    latent_dim: int
    file: str = ""
    channel: str | None = None
    window: int = 0
    stride: int = 1


SETTINGS = {
    "ecg5000-8": Setting("ECG5000, 8 latents", 8),
    "ecg5000-32": Setting("ECG5000, 32 latents", 32),
    "nyc-taxi": Setting(
        "nyc_taxi, 16 latents", 16, "nab/realKnownCause/nyc_taxi.csv", "value", 336, 4
    ),
    "etth1": Setting("ETTh1 OT, 16 latents", 16, "ett/ETTh1.csv", "OT", 168, 6),
    "ucr-135": Setting(
        "UCR 135, 16 latents", 16,
        "ucr_anomaly/135_UCR_Anomaly_InternalBleeding16_1200_4187_4199.txt", None, 160, 3,
    ),
}  # fmt: skip
SETS = ("ecg5000", "nyc-taxi", "etth1", "ucr-135")
"""A set counts as won where the pyramid wins in each of its settings."""

Part = tuple[list[Claim], dict[str, Ensemble]]


def run(setup: Setup, folder: Path) -> Part:
    """Trains all models on all settings, compares them, and draws the errors."""
    if not setup.quick:
        setup = replace(setup, seeds=max(setup.seeds, LEAST_SEEDS))
    stated: list[Claim] = []
    trained: dict[str, Ensemble] = {}
    errors: dict[str, dict[str, np.ndarray]] = {}
    for key in QUICK_SETTINGS if setup.quick else SETTINGS:
        setting, dataset = SETTINGS[key], read(folder, SETTINGS[key])
        errors[key] = {}
        for name, settings in configurations(setting, dataset).items():
            # no seed changes principal components
            own = replace(setup, seeds=1) if name == "pca" else setup
            run_name = f"series-{key}-{name}"
            done = own.train(run_name, settings, dataset, brief=True)
            trained[run_name] = done
            errors[key][name] = _test_errors(setup, run_name, done, dataset)
            text = f"test error of {figures.label(name)}, {setting.words}"
            stated.append(_error_claim(f"{run_name}-mse", text, errors[key][name]))
    stated += verdicts(errors)
    panels = {
        SETTINGS[key].words: {name: 100 * a / of["pca"].mean() for name, a in of.items()}
        for key, of in errors.items()
    }
    figure = figures.seed_panels(panels, quantity="test MSE, % of PCA's")
    figures.save(figure, setup.out / "series_reconstruction")
    return stated, trained


def read(folder: Path, setting: Setting) -> Dataset:
    """Returns the windows of a setting, each of mean 0 and deviation 1."""
    if not setting.file:
        x, y, x_test, y_test = classes.read(folder, "ECG5000")
        return Dataset("ECG5000", Split(x, y), Split(x_test, y_test))
    path = folder / setting.file
    if path.suffix == ".txt":  # a value a line
        series = single(np.loadtxt(path, dtype=np.float32))
    else:
        series = series_data.read(path, Options(channels=setting.channel))
    options = Options(window=str(setting.window), stride=str(setting.stride), scaling="window")
    return series_data.as_dataset(series, path.stem, options)


def configurations(setting: Setting, dataset: Dataset) -> dict[str, TrainConfig]:
    """Returns what is trained: all of equal latents, controls of as many parameters."""
    latent: dict[str, Any] = {"latent_dim": setting.latent_dim}
    pyramid, shape = ModelConfig("pyramid", latent), dataset.sample_shape
    chosen = {
        "pca": ModelConfig("pca", latent),
        "baseline": controls.match(ModelConfig("baseline", latent), pyramid, "params", shape),
        "pyramid-flat": controls.match(
            ModelConfig("pyramid-flat", latent), pyramid, "params", shape
        ),
        "pyramid": pyramid,
    }
    epochs = max(1, round(STEPS / -(-len(dataset.train.x) // BATCH_SIZE)))
    return {
        name: TrainConfig(
            model, data=dataset.name, epochs=1 if name == "pca" else epochs, batch_size=BATCH_SIZE
        )
        for name, model in chosen.items()
    }


def _test_errors(setup: Setup, run_name: str, done: Ensemble, dataset: Dataset) -> np.ndarray:
    """Returns the squared error per value `[seeds]` on the test split; NaN of what diverged."""

    def measure(model: nn.Module, variables: Mapping[str, Any], seed: int) -> dict[str, Any]:
        return {"mse": evaluate(model, variables, dataset.test.x, done.config.objective)["mse"]}

    found = per_seed(setup, run_name, done, measure)
    nothing = {"mse": np.nan}
    return np.array([found.get(member.seed, nothing)["mse"] for member in done.members])


def _error_claim(id: str, text: str, errors: np.ndarray) -> Claim:
    values = finite(errors)
    diverged = len(errors) - len(values)
    return Claim(id, text, None, "MSE per value", values.tolist(), diverged=diverged)


def verdicts(errors: Mapping[str, Mapping[str, np.ndarray]]) -> list[Claim]:
    """Returns how far the pyramid's error is below each rival's, and on how many sets it wins.

    Args:
      errors: by setting and model, the test errors `[seeds]`; PCA's is one number.
    """
    pairs, found = [(key, rival) for key in errors for rival in RIVALS], []
    for key, rival in pairs:
        ours = errors[key]["pyramid"]
        theirs = np.broadcast_to(errors[key][rival], ours.shape)
        kept = np.isfinite(ours) & np.isfinite(theirs)
        found.append((ours[kept], theirs[kept], paired.compare(ours[kept], theirs[kept])))
    corrected = paired.holm([comparison.p for _, _, comparison in found])
    stated, won = [], {}
    for (key, rival), p, (ours, theirs, comparison) in zip(pairs, corrected, found, strict=True):
        won[key, rival] = comparison.difference.mean < 0 and p < LEVEL
        words = f"error of the pyramid below {figures.label(rival)}, same seed"
        percent = (100 * (1 - ours / theirs)).tolist()
        why = f"p = {p:.2g} after Holm's correction for {len(pairs)} comparisons"
        id = f"series-{key}-pyramid-below-{rival}"
        stated.append(ours_alone(id, f"{words}, {SETTINGS[key].words}", "percent", percent, why))
    winning = [
        name
        for name in SETS
        if any(key.startswith(name) for key in errors)
        and all(won[key, rival] for key, rival in pairs if key.startswith(name))
    ]
    text = "sets of four on which the pyramid beats its control, the dense model and PCA"
    names = ", ".join(winning) or "none"
    why = f"{names}; each with p < {LEVEL:g} after Holm's correction; three were aimed at"
    return [*stated, ours_alone("series-pyramid-wins", text, "sets", [float(len(winning))], why)]
