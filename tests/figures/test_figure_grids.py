from __future__ import annotations

import numpy as np

from msae_jax.figures import curve_panels, image_squares, image_strips, style, tiled


def test_curves_of_several_quantities_share_a_legend() -> None:
    loss, kl = np.array([[3.0, 2.0], [5.0, np.nan]]), np.array([[1.0, 1.5]])
    figure = curve_panels(
        {"loss": {"vae3": loss, "other": loss}, "KL": {"vae3": kl}},
        {"loss": {"vae3": {2: 2.5}}},
        unit="nats",
    )
    left, right = figure.axes
    np.testing.assert_allclose(left.lines[0].get_ydata(), [4, 2])
    np.testing.assert_allclose(left.lines[1].get_xydata(), [[2, 2.5]])
    assert left.get_ylabel() == "loss (nats)"
    assert right.lines[0].get_color() == left.lines[0].get_color() == style.BLUE
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["3-layer VAE", "other", "published, one run"]


def test_images_are_tiled_row_by_row() -> None:
    images = np.arange(5)[:, None, None, None] * np.full((5, 2, 2, 1), 0.1)
    figure = image_squares({"a": images, "b": images}, columns=3)
    assert [axes.get_title() for axes in figure.axes] == ["a", "b"]
    tiled = np.asarray(figure.axes[0].images[0].get_array())
    assert tiled.shape == (2 * 2 + 1, 3 * 2 + 2)
    np.testing.assert_allclose(tiled[0, [0, 2, 3, 5, 6]], [0, 1, 0.1, 1, 0.2])
    np.testing.assert_allclose(tiled[3, [0, 3, 6]], [0.3, 0.4, 1])


def test_colour_images_keep_their_colours() -> None:
    images = np.arange(3)[:, None, None, None] * np.array([0.1, 0.2, 0.3]) * np.ones((3, 2, 2, 3))
    tiles = tiled(images, columns=2)
    assert tiles.shape == (2 * 2 + 1, 2 * 2 + 1, 3)
    np.testing.assert_allclose(tiles[0, 3], [0.1, 0.2, 0.3])
    np.testing.assert_allclose(tiles[3, 0], [0.2, 0.4, 0.6])
    np.testing.assert_allclose(tiles[3, 3], 1)


def test_strips_have_a_column_a_data_set_and_a_row_a_name() -> None:
    grey, colour = np.full((2, 3, 3, 1), 0.5), np.full((2, 4, 4, 3), 0.2)
    figure = image_strips({"a": {"x, one": grey, "y": grey}, "b": {"x, one": colour, "y": colour}})
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "", ""]
    assert [axes.get_ylabel() for axes in figure.axes] == ["x,\none", "", "y", ""]
    shapes = [np.asarray(axes.images[0].get_array()).shape for axes in figure.axes]
    assert shapes == [(3, 2 * 3 + 1), (4, 2 * 4 + 1, 3)] * 2
