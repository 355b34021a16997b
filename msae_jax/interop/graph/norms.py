"""Normalisation over batches, layers, groups, instances; the new values of running statistics."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from msae_jax.errors import InputError
from msae_jax.interop.graph.context import Context, Mutated

Array = jax.Array
Maybe = jax.Array | None


def _moments(x: Array, axes: Sequence[int]) -> tuple[Array, Array]:
    """Returns mean and biased variance over axes, which stay with size 1."""
    mean = x.mean(tuple(axes), keepdims=True)
    return mean, jnp.square(x - mean).mean(tuple(axes), keepdims=True)


def _channels(values: Array, ndim: int) -> Array:
    """Returns values [C] so that they meet axis 1 of an array of `ndim` axes."""
    return values.reshape(1, -1, *(1,) * (ndim - 2))


def _affine(y: Array, weight: Maybe, bias: Maybe) -> Array:
    y = y if weight is None else y * _channels(weight, y.ndim)
    return y if bias is None else y + _channels(bias, y.ndim)


def _over_batch(
    x: Array, weight: Maybe, bias: Maybe, eps: float
) -> tuple[Array, Array, Array, int]:
    """Returns x [B, C, *S] normalised over the batch, means, biased variances [C], the number."""
    axes = (0, *range(2, x.ndim))
    count = x.size // x.shape[1]
    if count < 2:
        raise InputError(
            f"batch norm needs 2 values per channel or more to train, got {list(x.shape)}."
        )
    mean, var = _moments(x, axes)
    y = _affine((x - mean) * lax.rsqrt(var + eps), weight, bias)
    return y, mean.reshape(-1), var.reshape(-1), count


def _by_running(x: Array, weight: Maybe, bias: Maybe, mean: Array, var: Array, eps: float) -> Array:
    scale = lax.rsqrt(var + eps) if weight is None else weight * lax.rsqrt(var + eps)
    y = (x - _channels(mean, x.ndim)) * _channels(scale, x.ndim)
    return y if bias is None else y + _channels(bias, x.ndim)


def _tracked(old: Array, new: Array, momentum: float) -> Array:
    return (1 - momentum) * old + momentum * lax.stop_gradient(new).astype(old.dtype)


def batch_norm(
    input: Array,
    weight: Maybe,
    bias: Maybe,
    running_mean: Maybe,
    running_var: Maybe,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = True,
    *,
    context: Context,
) -> Array | Mutated:
    """Returns the input [B, C, *S] normalised over the batch, or by the running statistics.

    The former changes these, if there are any: new = (1 - momentum) old + momentum batch, with
    the unbiased variance.
    """
    del cudnn_enabled  # by which program PyTorch computes it
    if running_mean is None or running_var is None:
        return _over_batch(input, weight, bias, eps)[0]
    if not (training and context.train):
        return _by_running(input, weight, bias, running_mean, running_var, eps)
    y, mean, var, n = _over_batch(input, weight, bias, eps)
    return Mutated(
        y,
        {
            "running_mean": _tracked(running_mean, mean, momentum),
            "running_var": _tracked(running_var, var * (n / (n - 1)), momentum),
        },
    )


def batch_norm_functional(
    input: Array,
    weight: Maybe,
    bias: Maybe,
    running_mean: Array,
    running_var: Array,
    training: bool,
    momentum: float,
    eps: float,
    *,
    context: Context,
) -> tuple[Array, Any, Any, Array, Array]:
    """Returns the same, statistics of the batch, and the running statistics' new values."""
    if not (training and context.train):
        y = _by_running(input, weight, bias, running_mean, running_var, eps)
        return y, None, None, running_mean, running_var
    y, mean, var, n = _over_batch(input, weight, bias, eps)
    new_mean = _tracked(running_mean, mean, momentum)
    new_var = _tracked(running_var, var * (n / (n - 1)), momentum)
    return y, mean, lax.rsqrt(var + eps), new_mean, new_var


def batch_norm_no_training(
    input: Array,
    weight: Maybe,
    bias: Maybe,
    running_mean: Array,
    running_var: Array,
    momentum: float,
    eps: float,
) -> tuple[Array, None, None]:
    del momentum  # by which the running statistics would change in training
    return _by_running(input, weight, bias, running_mean, running_var, eps), None, None


def batch_norm_no_stats(
    input: Array, weight: Maybe, bias: Maybe, training: bool, momentum: float, eps: float
) -> tuple[Array, Array, Array]:
    del momentum
    if not training:
        raise InputError("a batch norm without running statistics is not in training.")
    y, mean, var, _ = _over_batch(input, weight, bias, eps)
    return y, mean, lax.rsqrt(var + eps)


def layer_norm(
    input: Array,
    normalized_shape: Sequence[int],
    weight: Maybe = None,
    bias: Maybe = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Array:
    del cudnn_enable
    return native_layer_norm(input, normalized_shape, weight, bias, eps)[0]


def native_layer_norm(
    input: Array, normalized_shape: Sequence[int], weight: Maybe, bias: Maybe, eps: float
) -> tuple[Array, Array, Array]:
    axes = range(input.ndim - len(normalized_shape), input.ndim)
    mean, var = _moments(input, axes)
    scale = lax.rsqrt(var + eps)
    y = (input - mean) * scale
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias), mean, scale


def rms_norm(
    input: Array, normalized_shape: Sequence[int], weight: Maybe = None, eps: float | None = None
) -> Array:
    axes = tuple(range(input.ndim - len(normalized_shape), input.ndim))
    least = float(jnp.finfo(input.dtype).eps) if eps is None else eps
    y = input * lax.rsqrt(jnp.square(input).mean(axes, keepdims=True) + least)
    return y if weight is None else y * weight


def _by_groups(x: Array, groups: int, weight: Maybe, bias: Maybe, eps: float, axis: int) -> Array:
    """Returns x normalised over each of so many groups of the channels, which lie along `axis`.

    Means are taken of each channel first, so that all loops run over whole rows.
    """
    shape = [1 if i not in (0, axis) else size for i, size in enumerate(x.shape)]
    of_channel = [1 if i != axis else size for i, size in enumerate(x.shape)]

    def over_groups(x: Array) -> Array:
        means = x.mean([i for i in range(1, x.ndim) if i != axis]).reshape(x.shape[0], groups, -1)
        each = jnp.repeat(means.mean(-1), x.shape[axis] // groups, axis=-1)
        return each.reshape(shape)

    centred = x - over_groups(x)
    scale = lax.rsqrt(over_groups(jnp.square(centred)) + eps)
    y = centred * (scale if weight is None else scale * weight.reshape(of_channel))
    return y if bias is None else y + bias.reshape(of_channel)


def group_norm(
    input: Array,
    num_groups: int,
    weight: Maybe = None,
    bias: Maybe = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Array:
    """Returns the input [B, C, *S] normalised over each of `num_groups` groups of channels."""
    del cudnn_enabled
    return _by_groups(input, num_groups, weight, bias, eps, 1)


def group_norm_last(
    input: Array,
    num_groups: int,
    weight: Maybe = None,
    bias: Maybe = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Array:
    """`group_norm` of [B, *S, C]."""
    del cudnn_enabled
    return _by_groups(input, num_groups, weight, bias, eps, input.ndim - 1)


def native_group_norm(
    input: Array, weight: Maybe, bias: Maybe, N: int, C: int, HxW: int, group: int, eps: float
) -> tuple[Array, None, None]:
    if (N, C, HxW) != (*input.shape[:2], math.prod(input.shape[2:])):
        raise InputError(f"a group norm of [{N}, {C}, {HxW}] is given {list(input.shape)}.")
    return _by_groups(input, group, weight, bias, eps, 1), None, None


def native_group_norm_last(
    input: Array, weight: Maybe, bias: Maybe, N: int, C: int, HxW: int, group: int, eps: float
) -> tuple[Array, None, None]:
    """`native_group_norm` of [B, *S, C], whose sizes the caller knows."""
    del N, C, HxW
    return _by_groups(input, group, weight, bias, eps, input.ndim - 1), None, None


def instance_norm(
    input: Array,
    weight: Maybe,
    bias: Maybe,
    running_mean: Maybe,
    running_var: Maybe,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
    *,
    context: Context,
) -> Array | Mutated:
    """Returns the input [B, C, *S] normalised over each sample's channel.

    By running statistics instead where these are tracked and the graph is not in training.
    """
    del cudnn_enabled
    tracked = running_mean is not None and running_var is not None
    if running_mean is not None and running_var is not None:
        if not (use_input_stats and context.train):
            return _by_running(input, weight, bias, running_mean, running_var, eps)
    elif not use_input_stats:
        raise InputError("an instance norm has no statistics to normalise by.")
    mean, var = _moments(input, range(2, input.ndim))
    y = _affine((input - mean) * lax.rsqrt(var + eps), weight, bias)
    if not tracked:
        return y
    n = math.prod(input.shape[2:])
    means, variances = mean.mean(0).reshape(-1), var.mean(0).reshape(-1) * (n / (n - 1))
    return Mutated(
        y,
        {
            "running_mean": _tracked(running_mean, means, momentum),  # type: ignore[arg-type]
            "running_var": _tracked(running_var, variances, momentum),  # type: ignore[arg-type]
        },
    )


TABLE: dict[str, Callable[..., Any]] = {
    "aten.batch_norm.default": batch_norm,
    "aten._native_batch_norm_legit_functional.default": batch_norm_functional,
    "aten._native_batch_norm_legit_no_training.default": batch_norm_no_training,
    "aten._native_batch_norm_legit.no_stats": batch_norm_no_stats,
    "aten.layer_norm.default": layer_norm,
    "aten.native_layer_norm.default": native_layer_norm,
    "aten.rms_norm.default": rms_norm,
    "aten.group_norm.default": group_norm,
    "aten.native_group_norm.default": native_group_norm,
    "aten.instance_norm.default": instance_norm,
}
