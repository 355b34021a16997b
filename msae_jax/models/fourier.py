"""Convolutions of stride 1 on small images in Fourier space, as real matrix products, for CPUs.

By the correlation theorem y = A [(G w) * (D x)]: D and G transform image and kernel, * multiplies
[B, I] by [I, O] at each frequency, and A transforms back. A circle of S + p positions along each
axis is enough, as the zeros before the first position are also those after the last. Of a pair of
conjugate frequencies one is kept, and its complex product takes three real ones (Gauss):

    (a + ib) (c - id) = [(a + b) c + b (d - c)] + i [(a + b) c - a (c + d)]

Altogether these are a third of the multiplications that im2col needs. Shapes: B batch, *S spatial,
I input and O output channels, *K kernel, F products.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

Sizes = tuple[int, ...]


def output_size(size: Sizes, kernel: Sizes, padding: Sizes) -> Sizes:
    """Returns the spatial size of the result, S' = S + 2 padding - K + 1."""
    return tuple(h + 2 * p - k + 1 for h, k, p in zip(size, kernel, padding, strict=False))


def pays(x: Sizes, w: Sizes, padding: Sizes) -> bool:
    """Whether this takes 1.5 times fewer multiplications than im2col, for x and w of these shapes.

    A batch size that is not a number yet (`jax.export`) counts as large.
    """
    size, kernel, channels = math.prod(x[1:-1]), math.prod(w[:-2]), w[-2] * w[-1]
    outputs = math.prod(output_size(x[1:-1], w[:-2], padding))
    products = 1.5 * math.prod(np.add(x[1:-1], padding).tolist())
    of_kernel = kernel * channels / max(x[0], 1) if isinstance(x[0], int) else 0.0
    per_image = channels + size * w[-2] + outputs * w[-1] + of_kernel
    return outputs * kernel * channels > 1.5 * products * per_image


def conv(x: jax.Array, w: jax.Array, padding: Sizes) -> jax.Array:
    """Returns the cross-correlation [B, *S', O] of x [B, *S, I] with w [*K, I, O]."""
    size, kernel = x.shape[1:-1], w.shape[:-2]
    of_x, of_w, to_y = _transforms(size, kernel, padding, x.dtype)
    xf, wf = _transformed(of_x, of_w, x, w)
    y = jnp.tensordot(to_y, jnp.einsum("fbi,fio->fbo", xf, wf), 1)
    return _batch_first(y, output_size(size, kernel, padding))


def grads(x: jax.Array, w: jax.Array, g: jax.Array, padding: Sizes) -> tuple[jax.Array, jax.Array]:
    """Returns the gradients of x and w, given that of the result."""
    of_x, of_w, to_y = _transforms(x.shape[1:-1], w.shape[:-2], padding, x.dtype)
    xf, wf = _transformed(of_x, of_w, x, w)
    gf = jnp.tensordot(to_y.T, _positions_first(g), 1)
    dx = jnp.tensordot(of_x.T, jnp.einsum("fbo,fio->fbi", gf, wf), 1)
    dw = jnp.tensordot(of_w.T, jnp.einsum("fbi,fbo->fio", xf, gf), 1)
    return _batch_first(dx, x.shape[1:-1]), dw.reshape(w.shape)


@functools.lru_cache
def _transforms(
    size: Sizes, kernel: Sizes, padding: Sizes, dtype: np.dtype
) -> tuple[np.ndarray, ...]:
    """Returns D [F, S], G [F, K] and A [S', F], spatial axes flattened.

    The F rows: one for each frequency that is its own conjugate, then three blocks, one for each of
    Gauss's three products, with a row for each pair of conjugate frequencies.
    """
    circle = np.add(size, padding)
    every = np.stack(list(np.ndindex(*circle)))
    number = np.ravel_multi_index(tuple(every.T), circle)
    conjugate = np.ravel_multi_index(tuple((-every % circle).T), circle)
    kept = number <= conjugate
    frequencies, real = every[kept], (number == conjugate)[kept]

    def waves(shape: Sizes, start: np.ndarray | int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Returns real and imaginary part [frequencies, positions] of the transform."""
        positions = np.stack(list(np.ndindex(*shape))) + start
        angle = 2 * np.pi * (frequencies / circle) @ positions.T
        return np.cos(angle), -np.sin(angle)

    def rows(own: np.ndarray, *of_pairs: np.ndarray) -> np.ndarray:
        return np.concatenate([own[real], *(part[~real] for part in of_pairs)])

    a, b = waves(size)
    of_x = rows(a, a + b, a, b)
    c, d = waves(kernel)
    of_w = rows(c, c, c + d, d - c)
    cos, minus_sin = waves(output_size(size, kernel, padding), -np.array(padding))
    weight = np.where(real, 1, 2)[:, None] / len(every)  # the one that is kept counts for the pair
    to_y = rows(*(weight * part for part in (cos, cos + minus_sin, -minus_sin, cos))).T
    return of_x.astype(dtype), of_w.astype(dtype), to_y.astype(dtype)


def _transformed(
    of_x: np.ndarray, of_w: np.ndarray, x: jax.Array, w: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns the transforms [F, B, I] of x and [F, I, O] of w."""
    xf = jnp.tensordot(of_x, _positions_first(x), 1)
    return xf, jnp.tensordot(of_w, w.reshape(-1, *w.shape[-2:]), 1)


def _positions_first(x: jax.Array) -> jax.Array:
    return jnp.moveaxis(x.reshape(x.shape[0], -1, x.shape[-1]), 1, 0)


def _batch_first(x: jax.Array, size: Sizes) -> jax.Array:
    return jnp.moveaxis(x, 0, 1).reshape(x.shape[1], *size, x.shape[-1])
