"""`sines`: the synthetic signals behind the published multi-scale checkpoints, bit for bit."""

from __future__ import annotations

import functools

import numpy as np

from msae_jax.data.dataset import Dataset, Split

TRAIN, TEST, LENGTH, SEED = 4000, 800, 128, 42


def signals(n: int, rng: np.random.RandomState) -> np.ndarray:
    """Draws `n` signals [n, 128], float32, one after another from the legacy stream `rng`.

    x(t) = sum_k a_k sin(2 pi f_k t + p_k) + c t on t = 0, 1/128, ..., 127/128, standardised by its
    own mean and (population) deviation, plus N(0, 0.02) noise. Three slow components, f ~ U(0.5, 3)
    and a ~ U(0.5, 1); one fast, f ~ U(6, 12) and a ~ U(0.2, 0.8); p ~ U(0, 2 pi); c ~ U(-0.2, 0.2).

    The order of the draws and of the float64 operations is the original's. All 4,800 signals take
    a quarter of a second, so that this can stay the loop that it describes; `load` keeps them.
    """
    t = np.linspace(0, 1, LENGTH, endpoint=False)
    out = np.empty((n, LENGTH), np.float32)
    for row in out:
        signal = np.zeros(LENGTH)
        for low, high, weakest, strongest in [(0.5, 3.0, 0.5, 1.0)] * 3 + [(6, 12, 0.2, 0.8)]:
            frequency = rng.uniform(low, high)
            phase = rng.uniform(0, 2 * np.pi)
            amplitude = rng.uniform(weakest, strongest)
            signal += amplitude * np.sin(2 * np.pi * frequency * t + phase)
        signal += rng.uniform(-0.2, 0.2) * t
        signal = (signal - signal.mean()) / (signal.std() + 1e-9)
        row[:] = signal + rng.normal(0, 0.02, size=LENGTH)
    return out


def load() -> Dataset:
    """Returns the 4,000 training and 800 test signals, float32 [N, 128], no labels."""
    train, test = _arrays()
    return Dataset("sines", Split(train.copy()), Split(test.copy()))


@functools.cache
def _arrays() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.RandomState(SEED)
    return signals(TRAIN, rng), signals(TEST, rng)
