"""The claims of augmentation: published numbers beside ours, and ours at equal distance.

Sources: the README of github.com/luisroque/L-GTA at 5a4eba5 (2024), and arXiv 2507.23615.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from msae_jax import figures
from msae_jax.experiments.study import ours_alone
from msae_jax.results.claims import Claim

README, PAPER = "L-GTA's README, 5a4eba5", "arXiv 2507.23615"
DISTANCE = "deviations of the series"

DIRECT = {
    "jitter": (0.181, 0.059, 168.7),
    "magnitude-warp": (0.182, 0.194, 185.4),
    "scaling": (0.135, 0.113, 244.1),
}
"""The median Wasserstein distance, its interquartile range, the PCA-2 ratio in percent."""

LGTA = {"jitter": (0.123, 100.1), "magnitude-warp": (0.116, 102.6), "scaling": (0.111, 107.6)}
"""The median Wasserstein distance and the PCA-2 ratio in percent."""

PREDICTOR = {"latents": 0.0215 / 0.022, "direct": 0.024 / 0.022}
"""Middles of 0.021 to 0.022 and 0.023 to 0.025, relative to the original's 0.022."""

MASE = {"lgta": 2.99, "original": 4.12, "direct": 4.44}
NOT_OURS = {"TimeVAE": 4.06, "Diffusion-TS": 5.33, "TimeGAN": 5.98}

UNMATCHED = (
    "strengths in latents have no unit, so that they are not matched: an exact copy would have 0 "
    "and 100%; compare at equal distance"
)
PREDICTION = (
    "the unit is not given, and the published code gives the test untransformed reconstructions"
)
FORECASTER = "the forecaster and its horizon are not given; ours is a ridge regression, one month"

MEASURES = {
    "ratio": ("PCA-2 ratio", "percent"),
    "discriminative": ("discriminative score", "0 to 0.5"),
    "transfer": ("test error of a predictor trained on it", "times that of the original"),
    "rho": ("Spearman's rho of strength against effect", "rank correlation"),
    "monotonic": ("series whose effect never falls with strength", "percent"),
}

BySeed = Sequence[Mapping[str, Mapping[str, Any]]]


def of_direct(name: str, rows: np.ndarray) -> list[Claim]:
    """Returns the claims of a direct transform; `rows` are `[seeds, 3]`, as in `DIRECT`."""
    texts = (
        ("wasserstein", "median Wasserstein distance", DISTANCE),
        ("iqr", "interquartile range of the distance", DISTANCE),
        ("ratio", "PCA-2 ratio", "percent"),
    )
    return [
        Claim(
            f"series-direct-{name}-{key}",
            f"{text} of direct {name}, Tourism",
            number,
            unit,
            values.tolist(),
            source=README,
            why="the mean of the published runs, whose number is not given",
            detail=key == "iqr",
        )
        for (key, text, unit), number, values in zip(texts, DIRECT[name], rows.T, strict=True)
    ]


def of_lgta(lgta: BySeed | None, plain: BySeed | None, direct: BySeed) -> list[Claim]:
    """Returns the claims of what is published of L-GTA; none of ours where there is no model."""
    stated = [
        _underspecified("predictor-direct", "error of a predictor trained on direct copies",
                        PREDICTOR["direct"], "times that of the original",
                        _averaged(direct, "transfer"), PREDICTION),
        _underspecified("mase-direct", "MASE of a forecaster trained with direct copies, too",
                        MASE["direct"], "MASE", _averaged(direct, "mase"), FORECASTER),
    ]  # fmt: skip
    for name, number in NOT_OURS.items():
        text = f"MASE of a forecaster trained with {name}"
        stated.append(_underspecified(f"mase-{name}", text, number, "MASE", [], "not a model here"))
    if lgta is None or plain is None:
        return stated
    for name in [name for name in LGTA if name in lgta[0]]:
        numbers = zip(("distance", "ratio"), LGTA[name], (DISTANCE, "percent"), strict=True)
        for key, number, unit in numbers:
            text = {"distance": "median Wasserstein distance", "ratio": "PCA-2 ratio"}[key]
            values = [one[name][f"own_{key}"] for one in lgta]
            text = f"{text} of {name} in latents of L-GTA"
            id = f"series-lgta-{name}-{key}"
            stated.append(Claim(id, text, number, unit, values, source=README, why=UNMATCHED))
    why = "another data set and strengths: ours are 1/4 to 4 times that of equal distance"
    for id, number, found, key, unit in (
        ("rho", 0.95, lgta, "rho", "rank correlation"),
        ("monotonic", 90.0, lgta, "monotonic", "percent"),
        ("rho-plain", 0.78, plain, "rho", "rank correlation"),
    ):
        text = f"{MEASURES[key][0]}, L-GTA{' without equivariance' if found is plain else ''}"
        values = _averaged(found, key)
        stated.append(Claim(f"series-lgta-{id}", text, number, unit, values, source=PAPER, why=why))
    stated += [
        _underspecified("predictor-lgta", "error of a predictor trained on copies by L-GTA",
                        PREDICTOR["latents"], "times that of the original",
                        _averaged(lgta, "transfer"), PREDICTION),
        _underspecified("mase-lgta", "MASE of a forecaster trained with copies by L-GTA, too",
                        MASE["lgta"], "MASE", _averaged(lgta, "mase"), FORECASTER),
    ]  # fmt: skip
    return stated


def of_copy(copy: Mapping[str, Any]) -> list[Claim]:
    """Returns the claims of an exact copy of the series, which no seed changes."""
    return [
        _underspecified("mase-original", "MASE of a forecaster trained on original series",
                        MASE["original"], "MASE", [copy["mase"]], FORECASTER),
        ours_alone("series-augment-copy-distance", "Wasserstein distance of an exact copy",
                   DISTANCE, [copy["distance"]]),
        ours_alone("series-augment-copy-ratio", "PCA-2 ratio of an exact copy", "percent",
                   [copy["ratio"]]),
        ours_alone("series-augment-copy-discriminative", "discriminative score of an exact copy",
                   "0 to 0.5", [copy["discriminative"]]),
    ]  # fmt: skip


def of_methods(found: Mapping[str, BySeed], targets: Mapping[str, float]) -> list[Claim]:
    """Returns the claims of every method at equal distance, and of reconstructions.

    The mean over the transforms is shown; each transform is a detail. A seed whose reconstruction
    alone is farther than a distance is left out of both.
    """
    stated = of_copy(found["copy"][0]["reconstruction"])
    for method, rows in found.items():
        if method == "copy":
            continue
        how = "direct copies" if method == "direct" else f"copies by {figures.label(method)}"
        id = f"series-augment-{method.replace(' ', '-')}"
        for key, (text, unit) in MEASURES.items():
            values, left_out = _reached(rows, list(targets), key)
            statement = f"{text}: {how}, mean over transforms"
            stated.append(ours_alone(f"{id}-{key}", statement, unit, values, left_out))
            for name, target in targets.items():
                values, left_out = _reached(rows, [name], key)
                statement = f"{text}: {how}, {name} at distance {target:.3f}"
                claim = Claim(
                    f"{id}-{name}-{key}", statement, None, unit, values, why=left_out, detail=True
                )
                stated.append(claim)
        if method != "direct":
            stated += _of_reconstruction(id, figures.label(method), rows)
    return stated


def _of_reconstruction(id: str, name: str, rows: BySeed) -> list[Claim]:
    return [
        ours_alone(
            f"{id}-unchanged-{key}",
            f"{text} of the reconstruction by {name}",
            unit,
            [one["reconstruction"][key] for one in rows],
        )
        for key, text, unit in (
            ("distance", "median Wasserstein distance", DISTANCE),
            ("ratio", "PCA-2 ratio", "percent"),
            ("discriminative", "discriminative score", "0 to 0.5"),
        )
    ]


def _reached(rows: BySeed, names: Sequence[str], key: str) -> tuple[list[float], str]:
    """Returns the mean over transforms for each seed that was measured at the wanted distance."""
    kept = [one for one in rows if all(one[name]["reached"] for name in names)]
    values = [float(np.mean([one[name][key] for name in names])) for one in kept]
    missing = len(rows) - len(kept)
    return values, f"{missing} seeds reconstruct farther than the distance" if missing else ""


def _averaged(rows: BySeed, key: str) -> list[float]:
    """Returns of each seed the mean over transforms."""
    return [
        float(np.mean([found[key] for name, found in one.items() if name != "reconstruction"]))
        for one in rows
    ]


def _underspecified(
    id: str, text: str, number: float, unit: str, values: Sequence[float], reason: str
) -> Claim:
    source = PAPER if unit == "MASE" else README
    return Claim(
        f"series-augment-{id}", text, number, unit, values, source=source, underspecified=reason
    )
