from __future__ import annotations

from pathlib import Path

import numpy as np

from msae_jax import figures


def test_curves_show_mean_band_and_published() -> None:
    curves = {"msae": np.array([[1.0, 0.5, 0.3], [2.0, 0.7, 0.1]])}
    axes = figures.loss_curves(curves, {"msae": [1.1, 0.6]}).axes[0]
    mean, published = axes.lines
    np.testing.assert_allclose(mean.get_ydata(), [1.5, 0.6, 0.2])
    np.testing.assert_allclose(published.get_ydata(), [1.1, 0.6])
    low, high = axes.collections[0].get_datalim(axes.transData).intervaly
    np.testing.assert_allclose([low, high], [0.1, 2.0])
    assert axes.get_ylabel() == "training loss (MSE per value)"


def test_signals_are_drawn_over_the_original() -> None:
    x, recon = np.zeros((3, 8)), np.ones((3, 8))
    figure = figures.signal_grid(
        {"original": x, "msae": recon}, errors={"msae": np.array([1.0, 2.0, 3.0])}
    )
    assert len(figure.axes) == 6
    panel = figure.axes[4]
    assert panel.get_title() == "MSE 2.0000"
    np.testing.assert_array_equal(panel.lines[1].get_ydata(), np.ones(8))


def test_a_figure_is_saved_twice_with_the_same_bytes(tmp_path: Path) -> None:
    curves = {"baseline": np.array([[1.0, 0.5]])}
    for name in ("a", "b"):
        figures.save(figures.loss_curves(curves), tmp_path / name)
    for suffix in (".png", ".svg"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"


def test_bars_show_mean_interval_seeds_and_published() -> None:
    values = {"conv": np.array([1.0, 2.0, 3.0]), "stacked": np.array([7.0])}
    axes = figures.seed_bars(values, {"conv": 2.5}).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [2.0, 7.0]
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [1.0, 2.0, 3.0])
    half = 4.302652729696142 / np.sqrt(3)  # Student's quantile at 2 degrees of freedom
    (interval,) = (s for c in axes.containers if "Errorbar" in type(c).__name__ for s in c[2])
    np.testing.assert_allclose(interval.get_segments()[0][:, 0], [2 - half, 2 + half])
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["2.000; 2.5 published", "7.000"]
