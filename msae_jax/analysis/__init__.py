"""What a trained model has learnt: for any model with its variables, and arrays.

`msae_jax.analysis.statistics` has means and intervals over seeds, `.paired` compares two methods.
"""

from msae_jax.analysis.anomaly import Detection, anomaly_scores, detection, threshold
from msae_jax.analysis.latents import (
    Decoded,
    Interpolation,
    PathMetrics,
    arithmetic,
    decode,
    interpolate,
    path_metrics,
    sample,
    slerp,
)
from msae_jax.analysis.likelihood import Bounds, bounds, elbo, log_likelihood
from msae_jax.analysis.probes import Probe, probe
from msae_jax.analysis.projections import Projection, project
from msae_jax.train.evaluation import embed

__all__ = [
    "Bounds",
    "Decoded",
    "Detection",
    "Interpolation",
    "PathMetrics",
    "Probe",
    "Projection",
    "anomaly_scores",
    "arithmetic",
    "bounds",
    "decode",
    "detection",
    "elbo",
    "embed",
    "interpolate",
    "log_likelihood",
    "path_metrics",
    "probe",
    "project",
    "sample",
    "slerp",
    "threshold",
]
