"""The signals against a second implementation, written from the description alone."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from msae_jax import data

# Of the float32 values, little-endian, train then test; the second implementation below gives the
# same. sin() may differ in its last float64 bit between platforms, which rounding to float32 hides
# nearly always but not surely: the tolerance of 1e-6 in the other tests is what holds everywhere.
DIGEST = "93dda2ec40408ab2bfdbc9cf7257b01524f4e3aa2ba91982fe40f97bc5be8a58"


def described() -> np.ndarray:
    """Returns all 4,800 signals [4800, 128]: unit draws first, then one signal as one matrix."""
    stream = np.random.RandomState(42)
    t = np.arange(128) / 128
    low = np.array([[0.5, 0, 0.5]] * 3 + [[6, 0, 0.2]])  # frequency, phase, amplitude
    high = np.array([[3, 2 * np.pi, 1]] * 3 + [[12, 2 * np.pi, 0.8]])
    rows = []
    for _ in range(4800):
        unit, normal = stream.random_sample(13), stream.standard_normal(128)
        f, p, a = (low + (high - low) * unit[:12].reshape(4, 3)).T[:, :, None]
        s = (a * np.sin(2 * np.pi * f * t + p)).sum(0) + (0.4 * unit[12] - 0.2) * t
        rows.append((s - np.mean(s)) / (np.sqrt(np.mean((s - s.mean()) ** 2)) + 1e-9))
        rows[-1] = rows[-1] + 0.02 * normal
    return np.array(rows)


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    return described()


@pytest.fixture(scope="module")
def sines() -> data.Dataset:
    return data.load("sines")


def test_every_signal_follows_the_description(sines: data.Dataset, expected: np.ndarray) -> None:
    assert sines.train.x.shape == (4000, 128)
    assert sines.test.x.shape == (800, 128)
    assert sines.train.x.dtype == sines.test.x.dtype == np.float32
    assert sines.train.y is sines.test.y is None
    np.testing.assert_allclose(sines.train.x, expected[:4000], rtol=0, atol=1e-6)
    np.testing.assert_allclose(sines.test.x, expected[4000:], rtol=0, atol=1e-6)


def test_first_and_last_test_signal_have_the_recorded_values(sines: data.Dataset) -> None:
    first, last = (
        [-1.1429981, -1.0140297, -0.8992494, -0.7736403],
        [-0.3486388, -0.363079, -0.3242818, -0.2252454],
    )
    np.testing.assert_allclose(sines.test.x[0, :4], first, rtol=0, atol=1e-6)
    np.testing.assert_allclose(sines.test.x[799, -4:], last, rtol=0, atol=1e-6)


def test_digest_of_all_signals(sines: data.Dataset, expected: np.ndarray) -> None:
    values = np.concatenate([sines.train.x, sines.test.x]).astype("<f4")
    if hashlib.sha256(values.tobytes()).hexdigest() != DIGEST:
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-6)
        pytest.skip("not the recorded bits, but equal to 1e-6: this platform's sin() differs")
