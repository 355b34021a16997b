"""Finds an anomaly in a series, with alarms and a figure.

Run: python examples/detect_anomalies.py
"""

from pathlib import Path

import numpy as np

import msae_jax as mj
from msae_jax import figures
from msae_jax.analysis import series_anomalies

OUT = Path("example-anomalies")
TRAIN = 1000  # points without an anomaly, to learn from


def main() -> None:
    rng = np.random.default_rng(0)
    t = np.arange(1500)
    series = np.sin(2 * np.pi * t / 25) + 0.05 * rng.normal(size=len(t))
    series[1300:1330] = series[1300]  # a sensor that stands still

    # Two autoencoders of windows; a point's score is the mean over both.
    detector = mj.AnomalyDetector("pyramid", window=48, seeds=2, epochs=5)
    detector.fit(series[:TRAIN])

    scores = -detector.score_samples(series)  # of scikit-learn a lower score is more anomalous
    threshold = series_anomalies.alarm_threshold(scores[:TRAIN])
    alarms = series_anomalies.find_alarms(scores, threshold, gap=48)
    for alarm in alarms:
        print(f"alarm from {alarm.start} to {alarm.end}, worst at {alarm.peak}")
    worst = max(alarms, key=lambda alarm: alarm.score)
    print("the sensor stood still from 1300 to 1330:", 1280 <= worst.peak < 1350)

    drawn = figures.series_alarms(series, scores, threshold, alarms, train=TRAIN)
    figures.save(drawn, OUT / "alarms")
    print(f"wrote {OUT}")


if __name__ == "__main__":
    main()
