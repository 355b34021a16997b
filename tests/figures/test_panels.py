from __future__ import annotations

import numpy as np
from matplotlib.colors import to_hex

from msae_jax import figures


def test_every_seed_is_a_point_beside_the_mean_and_the_published_number() -> None:
    values = {"pyramid": np.array([0.8, 0.9]), "raw series": np.array([0.7])}
    figure = figures.seed_panels(
        {"a": values, "b": values}, {"a": 0.95}, quantity="accuracy", source="TS2Vec"
    )
    first, second = figure.axes
    assert [text.get_text() for text in first.get_yticklabels()] == ["pyramid", "raw series"]
    points, mean, *_ = first.lines
    np.testing.assert_array_equal(points.get_xdata(), [0.8, 0.9])
    np.testing.assert_allclose(mean.get_xdata(), [0.85])
    assert first.lines[-1].get_xdata() == [0.95, 0.95]
    assert len(second.lines) == len(first.lines) - 1


def test_effects_have_a_line_a_method_and_no_two_the_same_colour() -> None:
    names = ["direct", "pca", "pyramid", "pyramid without", "other"]
    effects = {name: np.array([[1.0, 2.0], [3.0, 6.0]]) for name in names}
    (axes,) = figures.effect_panels({"jitter": effects}, [0.5, 2.0]).axes
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [2, 4])
    colours = [to_hex(line.get_color()) for line in axes.lines]
    assert len(set(colours)) == len(names)


def test_features_of_a_model_have_its_colour() -> None:
    values = {name: np.array([1.0]) for name in ("raw lags", "pyramid, latents", "PCA, latents")}
    (axes,) = figures.seed_panels({"a": values}, quantity="error").axes
    of = dict(zip(values, (to_hex(line.get_color()) for line in axes.lines[::2]), strict=True))
    assert of["pyramid, latents"] == to_hex(figures.style.colour("pyramid"))
    assert of["PCA, latents"] == to_hex(figures.style.colour("pca"))
    assert len(set(of.values())) == 3


def test_one_measure_against_another_has_a_mark_a_method() -> None:
    a, b = np.array([1.0, 3.0]), np.array([10.0, 30.0])
    nothing = np.array([])
    figure = figures.trade_panels(
        {"s": {"A": (a, b), "B": (b, a), "C": (nothing, nothing)}, "t": {"A": (a, b)}},
        {"s": 0.5},
        xlabel="error",
        ylabel="distance",
        logarithmic=True,
        source="real",
    )
    first, second = figure.axes
    seeds, mean = first.lines[:2]
    np.testing.assert_array_equal(seeds.get_xydata(), [[1, 10], [3, 30]])
    np.testing.assert_array_equal(mean.get_xydata(), [[2, 20]])
    assert mean.get_color() == second.lines[1].get_color() != first.lines[3].get_color()
    assert (first.get_ylabel(), first.get_xlabel()) == ("distance", "error")
    assert first.get_yscale() == "log"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["A", "B", "real"]


def test_a_method_without_seeds_keeps_its_row() -> None:
    values = {"gone": np.array([]), "there": np.array([1.0, 2.0])}
    (axes,) = figures.seed_panels({"a": values}, quantity="error").axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["gone", "there"]
