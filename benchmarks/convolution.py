"""One convolution and its gradients inside a `lax.scan`: ours, plain `lax`, and PyTorch.

    python -m benchmarks.convolution [--plain] [--repeats 15]

Every layer of the three convolutional models, at their batch sizes; milliseconds for value and
both gradients, median over interleaved repeats. Needs the `torch` extra. `--plain` adds
`lax.conv_general_dilated`, which on a CPU is slow enough to need patience.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax import lax

from msae_jax.models.convolution import conv, conv_transpose


class Layer(NamedTuple):
    model: str
    x: tuple[int, ...]
    kernel: tuple[int, ...]
    options: dict[str, Any]
    transposed: bool = False


UP = {"stride": 2, "padding": 1}
LAYERS = [
    Layer("conv", (128, 28, 28, 1), (3, 3, 1, 32), {"stride": 2, "padding": 1}),
    Layer("conv", (128, 14, 14, 32), (3, 3, 32, 64), {"stride": 2, "padding": 1}),
    Layer("conv", (128, 7, 7, 64), (3, 3, 64, 128), {"padding": 1}),
    Layer("conv", (128, 7, 7, 128), (3, 3, 128, 64), {"padding": 1}),
    Layer("conv, superres", (128, 7, 7, 64), (4, 4, 64, 32), UP, transposed=True),
    Layer("conv", (128, 14, 14, 32), (4, 4, 32, 1), UP, transposed=True),
    Layer("superres", (128, 14, 14, 1), (3, 3, 1, 32), {"padding": 1}),
    Layer("superres", (128, 14, 14, 32), (4, 4, 32, 16), UP, transposed=True),
    Layer("superres", (128, 28, 28, 16), (3, 3, 16, 1), {"padding": 1}),
    Layer("msae", (64, 128, 16), (3, 16, 32), {"padding": 1}),
    Layer("msae", (64, 128, 16), (7, 16, 32), {"padding": 6, "dilation": 2}),
]


def plain(
    x: jax.Array, w: jax.Array, *, stride: int = 1, padding: int = 0, dilation: int = 1
) -> jax.Array:
    n = x.ndim - 2
    return lax.conv_general_dilated(
        x,
        w,
        (stride,) * n,
        [(padding, padding)] * n,
        rhs_dilation=(dilation,) * n,
        dimension_numbers=("NHWC", "HWIO", "NHWC") if n == 2 else ("NHC", "HIO", "NHC"),
    )


def plain_transpose(x: jax.Array, w: jax.Array, *, stride: int, padding: int) -> jax.Array:
    n = x.ndim - 2
    return lax.conv_general_dilated(
        x,
        jnp.flip(w, tuple(range(n))),
        (1,) * n,
        [(k - 1 - padding, k - 1 - padding) for k in w.shape[:n]],
        lhs_dilation=(stride,) * n,
        dimension_numbers=("NHWC", "HWIO", "NHWC") if n == 2 else ("NHC", "HIO", "NHC"),
    )


def scanned(
    function: Callable[..., jax.Array], x: jax.Array, w: jax.Array, steps: int
) -> Callable[[], None]:
    """Gradient steps on half the squared output, so that nothing is hoisted or left out."""

    def step(inputs: list[jax.Array], _: None) -> tuple[list[jax.Array], None]:
        y, pullback = jax.vjp(function, *inputs)
        return [a - 1e-9 * g for a, g in zip(inputs, pullback(y), strict=True)], None

    run = jax.jit(lambda x, w: lax.scan(step, [x, w], length=steps)[0])
    return lambda: jax.block_until_ready(run(x, w))


def looped(layer: Layer, x: np.ndarray, w: np.ndarray, steps: int) -> Callable[[], None]:
    n = x.ndim - 2
    name = f"conv_transpose{n}d" if layer.transposed else f"conv{n}d"
    function = functools.partial(getattr(torch.nn.functional, name), **layer.options)
    order = (n, n + 1) if layer.transposed else (n + 1, n)
    inputs = (
        torch.tensor(np.moveaxis(x, -1, 1).copy(), requires_grad=True),
        torch.tensor(w.transpose(*order, *range(n)).copy(), requires_grad=True),
    )

    def run() -> None:
        for _ in range(steps):
            y = function(*inputs)
            for a, g in zip(inputs, torch.autograd.grad(y, inputs, y.detach()), strict=True):
                a.data -= 1e-9 * g

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--plain", action="store_true", help="time lax.conv_general_dilated too")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--steps", type=int, default=10, help="steps in one scan")
    args = parser.parse_args()
    columns = ["msae_jax", "PyTorch", *(["plain lax"] if args.plain else [])]
    print(f"{'model':15}{'x':>20}{'kernel':>18}" + "".join(f"{c:>12}" for c in columns), flush=True)
    for layer in LAYERS:
        rng = np.random.default_rng(0)
        x = rng.standard_normal(layer.x).astype(np.float32)
        w = rng.standard_normal(layer.kernel).astype(np.float32)
        ours, theirs = (conv_transpose, plain_transpose) if layer.transposed else (conv, plain)
        runs = [
            scanned(
                functools.partial(ours, **layer.options), jnp.array(x), jnp.array(w), args.steps
            ),
            looped(layer, x, w, args.steps),
        ]
        if args.plain:
            function = functools.partial(theirs, **layer.options)
            runs.append(scanned(function, jnp.array(x), jnp.array(w), args.steps))
        for run in runs:
            run()  # compiles
        times: list[list[float]] = [[] for _ in runs]
        for _ in range(args.repeats):
            for run, spent in zip(runs, times, strict=True):
                start = time.perf_counter()
                run()
                spent.append(1e3 * (time.perf_counter() - start) / args.steps)
        cells = "".join(f"{statistics.median(spent):12.2f}" for spent in times)
        print(f"{layer.model:15}{layer.x!s:>20}{layer.kernel!s:>18}{cells}", flush=True)


if __name__ == "__main__":
    main()
