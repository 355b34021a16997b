"""`digits`: scikit-learn's 1,797 bundled handwritten digits, laid out as MNIST's are."""

from __future__ import annotations

import numpy as np

from msae_jax.data.dataset import Dataset, Split

BOX, SIDE = 20, 28  # MNIST's digits fill a box of 20 x 20 pixels in the middle of 28 x 28


def _interpolation() -> np.ndarray:
    """Returns ten times the bilinear weights [20, 8] from 8 to 20 samples, half-pixel centres.

    Output i lies at 0.4 i - 0.3 input pixels, so that ten times a weight is a whole number and the
    images come out the same on every machine.
    """
    weights = np.zeros((BOX, 8), np.int64)
    for i in range(BOX):
        left, tenths = divmod(4 * i - 3, 10)
        weights[i, np.clip(left, 0, 7)] += 10 - tenths
        weights[i, np.clip(left + 1, 0, 7)] += tenths
    return weights


def upscale(images: np.ndarray) -> np.ndarray:
    """Returns images [N, 8, 8] of integers 0..16 as uint8 [N, 28, 28, 1], rounding half up."""
    weights = _interpolation()
    large = weights @ images.astype(np.int64) @ weights.T  # in units of 1/1600 of full white
    margin = (SIDE - BOX) // 2
    pixels = ((2 * 255 * large + 1600) // 3200).astype(np.uint8)
    return np.pad(pixels, ((0, 0), (margin, margin), (margin, margin)))[..., None]


def load() -> Dataset:
    """Returns 1,437 training and 360 test images, uint8 [N, 28, 28, 1], and labels 0..9.

    The first 80% of scikit-learn's file are the training split, the rest the test split.
    """
    from sklearn.datasets import load_digits

    bundle = load_digits()
    x, y = upscale(bundle.images), bundle.target.astype(np.int32)
    cut = len(x) * 4 // 5
    return Dataset("digits", Split(x[:cut], y[:cut]), Split(x[cut:], y[cut:]))
