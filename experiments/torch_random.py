"""PyTorch's random numbers on a CPU, drawn without PyTorch: initial weights and data orders.

A seed gives PyTorch the Mersenne Twister that it gives `numpy.random.RandomState`. PyTorch's CPU
kernels of `uniform_`, `random_` and `randperm` fix what is drawn from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np


class Generator:
    """`torch.Generator`, seeded as by `manual_seed`."""

    def __init__(self, seed: int) -> None:
        self._twister = np.random.RandomState(seed & 0xFFFFFFFF)

    def words(self, count: int) -> np.ndarray:
        """Returns the next outputs of the twister, uint32 `[count]`."""
        return self._twister.randint(0, 2**32, size=count, dtype=np.uint32)

    def uniform(self, shape: tuple[int, ...], bound: float) -> np.ndarray:
        """`torch.empty(shape).uniform_(-bound, bound)`: 24 bits of each word."""
        low, high = np.float32(-bound), np.float32(bound)
        unit = (self.words(math.prod(shape)) & 0xFFFFFF) * 2.0**-24
        return (unit * np.float64(high - low) + np.float64(low)).astype(np.float32).reshape(shape)

    def integer(self) -> int:
        """`torch.empty((), dtype=torch.int64).random_().item()`."""
        high, low = map(int, self.words(2))
        return (high << 32 | low) % 2**63

    def permutation(self, n: int) -> np.ndarray:
        """`torch.randperm(n)`: Fisher and Yates, from the front."""
        order = np.arange(n)
        for i, z in enumerate(self.words(max(n - 1, 0)) % np.arange(n, 1, -1)):
            order[[i, i + z]] = order[[i + z, i]]
        return order


def initial_weights(
    generator: Generator, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, np.ndarray]:
    """Returns what `torch.nn.Linear` and `Conv1d` begin with, layer after layer.

    Args:
      shapes: of a state dict, in its order: the `weight` of a layer, (out, in, *kernel), then its
        `bias`.
    """
    weights, fan_in = {}, 1
    for key, shape in shapes.items():
        if key.endswith(".weight"):
            fan_in = math.prod(shape[1:])
            gain = math.sqrt(2.0 / (1 + math.sqrt(5) ** 2))  # kaiming_uniform_(a=sqrt(5))
            bound = math.sqrt(3.0) * (gain / math.sqrt(fan_in))
        else:
            bound = 1 / math.sqrt(fan_in)
        weights[key] = generator.uniform(shape, bound)
    return weights


def epoch_order(generator: Generator, n: int) -> np.ndarray:
    """Returns the order `[n]` in which a shuffling `DataLoader` goes through n samples once.

    It draws a seed for its workers, used or not, and then one for the sampler's own generator.
    """
    generator.integer()
    return Generator(generator.integer()).permutation(n)
