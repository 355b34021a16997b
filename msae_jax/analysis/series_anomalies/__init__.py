"""Anomalies in series: scores per time stamp, thresholds, alarms, and how good they are."""

from msae_jax.analysis.series_anomalies.alarms import Alarm, alarm_threshold, find_alarms
from msae_jax.analysis.series_anomalies.detector import point_scores_of, scored_windows, stream
from msae_jax.analysis.series_anomalies.metrics import (
    PointAdjusted,
    SeriesDetection,
    auc_pr,
    auc_roc,
    f1,
    point_adjusted_f1,
    series_detection,
)
from msae_jax.analysis.series_anomalies.periodicity import period
from msae_jax.analysis.series_anomalies.scores import (
    AGGREGATES,
    StreamingScorer,
    combined,
    point_scores,
    window_starts,
)
from msae_jax.analysis.series_anomalies.subsequence_pca import sub_pca
from msae_jax.analysis.series_anomalies.surface import (
    Volume,
    ranges,
    volume,
    vus_pr,
    vus_roc,
)

__all__ = [
    "AGGREGATES",
    "Alarm",
    "PointAdjusted",
    "SeriesDetection",
    "StreamingScorer",
    "Volume",
    "alarm_threshold",
    "auc_pr",
    "auc_roc",
    "combined",
    "f1",
    "find_alarms",
    "period",
    "point_adjusted_f1",
    "point_scores",
    "point_scores_of",
    "ranges",
    "scored_windows",
    "series_detection",
    "stream",
    "sub_pca",
    "volume",
    "vus_pr",
    "vus_roc",
    "window_starts",
]
