"""The enlarged digits against JAX's bilinear resize, and against scikit-learn's file order."""

from __future__ import annotations

import jax
import numpy as np
from sklearn.datasets import load_digits

from msae_jax import data
from msae_jax.data.digits import upscale


def test_digits_are_mnist_like_and_in_file_order() -> None:
    digits = data.load("digits")
    assert digits.train.x.shape == (1437, 28, 28, 1)
    assert digits.test.x.shape == (360, 28, 28, 1)
    assert digits.train.x.dtype == digits.test.x.dtype == np.uint8
    assert digits.sample_shape == (28, 28, 1)
    labels = load_digits().target
    np.testing.assert_array_equal(digits.train.y, labels[:1437])
    np.testing.assert_array_equal(digits.test.y, labels[1437:])
    small = load_digits().images
    np.testing.assert_array_equal(digits.test.x, upscale(small)[1437:])


def test_the_box_is_a_bilinear_enlargement_in_a_black_margin() -> None:
    small = load_digits().images[:50]
    large = upscale(small)[..., 0].astype(int)
    expected = jax.image.resize(small * (255 / 16), (50, 20, 20), "bilinear")
    np.testing.assert_allclose(large[:, 4:24, 4:24], expected, rtol=0, atol=0.501)
    large[:, 4:24, 4:24] = 0
    assert large.max() == 0


def test_full_white_stays_full_white_and_halves_round_up() -> None:
    assert upscale(np.full((1, 8, 8), 16))[0, 4:24, 4:24].min() == 255
    assert upscale(np.full((1, 8, 8), 8))[0, 14, 14, 0] == 128  # 127.5
