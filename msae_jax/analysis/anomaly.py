"""Anomaly detection with a model of normal samples: scores, a threshold, and their quality.

Everywhere a higher score is more anomalous, and the positive class is the anomaly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from msae_jax import data
from msae_jax.config import Objective
from msae_jax.errors import InputError, unknown_name
from msae_jax.train.evaluation import BATCH_SIZE, embed, per_sample

SCORES = ("mse", "nats", "latent")


class Detection(NamedTuple):
    """How well scores tell anomalies from normal samples.

    Attributes:
      auroc: the area under the ROC curve: the chance that an anomaly scores above a normal sample,
        ties counting half. 0.5 by guessing.
      auprc: average precision, the sum of (R_n - R_(n-1)) P_n over thresholds, not interpolated.
        `prevalence` by guessing.
      prevalence: the fraction of anomalies.
      recall, false_positive_rate: the fractions of the anomalies and of the normal samples that
        score above the threshold; None without one.
    """

    auroc: float
    auprc: float
    prevalence: float
    recall: float | None
    false_positive_rate: float | None


def anomaly_scores(
    model: nn.Module,
    variables: Mapping[str, Any],
    x: data.Samples,
    score: str = "mse",
    *,
    likelihood: str = "bernoulli",
    key: jax.Array | None = None,
    normal: data.Samples | None = None,
    batch_size: int = BATCH_SIZE,
) -> np.ndarray:
    """Returns the anomaly score `[N]` of samples `[N, ...]`; higher is more anomalous.

    Args:
      score: `mse`, the squared error of the reconstruction, mean per pixel (of a variational
        model, from the posterior mean); `nats`, the negative log-likelihood given the latent plus,
        of a variational model, the KL divergence, from one posterior sample; `latent`, the
        Mahalanobis distance of the latent from those of `normal` samples.
      likelihood, key: used by `nats` only; the key, `jax.random.key(0)` by default, draws the
        posterior sample.
      normal: used by `latent` only, which needs it: normal samples `[M, ...]`, M at least 2.
        Directions in which their latents do not vary are ignored.

    Raises:
      InputError: an unknown score; `latent` without `normal`; a Bernoulli likelihood for a model
        whose output is not a sigmoid.
    """
    if score not in SCORES:
        raise unknown_name("anomaly score", score, SCORES)
    if score == "latent":
        if normal is None or len(normal) < 2:
            raise InputError("score 'latent' needs normal=, 2 normal samples or more.")
        z, reference = (embed(model, variables, s, batch_size=batch_size) for s in (x, normal))
        return _mahalanobis(z.astype(np.float64), reference.astype(np.float64))
    objective = Objective(likelihood if score == "nats" else "gaussian")
    terms = per_sample(model, variables, x, objective, key=key, batch_size=batch_size)
    return np.asarray(terms.mse if score == "mse" else terms.recon_nats + terms.kl_nats)


def _mahalanobis(z: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Returns sqrt((z - m)' C^+ (z - m)), `[N]`, with the mean and covariance of the reference."""
    covariance = np.atleast_2d(np.cov(reference, rowvar=False))
    inverse = np.linalg.pinv(covariance, hermitian=True)
    away = z - reference.mean(axis=0)
    return np.sqrt(np.maximum(np.einsum("nd,de,ne->n", away, inverse, away), 0))


def threshold(scores: np.ndarray, quantile: float = 0.95) -> float:
    """Returns the quantile of the scores `[N]` of normal training samples.

    A score above it counts as an anomaly, so a fraction 1 - quantile of the normal training samples
    does. No anomaly may take part in choosing it.

    Raises:
      InputError: no scores, or a quantile outside [0, 1].
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 1 or not scores.size:
        raise InputError(f"scores must be [N], N at least 1, got {list(scores.shape)}.")
    if not 0 <= quantile <= 1:
        raise InputError(f"quantile must be between 0 and 1, got {quantile}.")
    return float(np.quantile(scores, quantile))


def detection(
    scores: np.ndarray, is_anomaly: np.ndarray, threshold: float | None = None
) -> Detection:
    """Returns how well the scores `[N]` tell the anomalies, booleans `[N]`, from the others.

    Args:
      threshold: a score above it counts as an anomaly; see `threshold`.

    Raises:
      InputError: shapes that differ, scores that are not finite, or only one class.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    scores, given = np.asarray(scores, np.float64), np.asarray(is_anomaly)
    positive = given.astype(bool)
    if scores.ndim != 1 or given.shape != scores.shape or not np.array_equal(given, positive):
        raise InputError(
            f"scores must be [N] and is_anomaly [N] booleans, got {list(scores.shape)} and "
            f"{given.dtype} {list(given.shape)}."
        )
    if not np.isfinite(scores).all():
        raise InputError(f"{int((~np.isfinite(scores)).sum())} scores are not finite.")
    if positive.all() or not positive.any():
        raise InputError("detection needs normal samples and anomalies, got only one of them.")
    recall = false_positive_rate = None
    if threshold is not None:
        recall = float(np.mean(scores[positive] > threshold))
        false_positive_rate = float(np.mean(scores[~positive] > threshold))
    return Detection(
        float(roc_auc_score(positive, scores)),
        float(average_precision_score(positive, scores)),
        float(positive.mean()),
        recall,
        false_positive_rate,
    )
