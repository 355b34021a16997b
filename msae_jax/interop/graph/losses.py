"""Losses, and the likenesses and distances of rows that losses are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy import special

from msae_jax.errors import InputError
from msae_jax.interop.graph.dtypes import is_floating, promoted
from msae_jax.interop.graph.reductions import norm_of

Array = jax.Array


def _reduced(loss: Array, reduction: int) -> Array:
    """Returns the losses one by one (0), their mean (1) or their sum (2)."""
    return (loss, loss.mean(), loss.sum())[reduction] if reduction else loss


def mse_loss(self: Array, target: Array, reduction: int = 1) -> Array:
    a, b = promoted(self, target)
    return _reduced(jnp.square(a - b), reduction)


def l1_loss(self: Array, target: Array, reduction: int = 1) -> Array:
    a, b = promoted(self, target)
    return _reduced(jnp.abs(a - b), reduction)


def smooth_l1_loss(self: Array, target: Array, reduction: int = 1, beta: float = 1.0) -> Array:
    apart = jnp.abs(self - target)
    return _reduced(
        jnp.where(apart < beta, 0.5 * apart**2 / (beta or 1.0), apart - 0.5 * beta), reduction
    )


def huber_loss(self: Array, target: Array, reduction: int = 1, delta: float = 1.0) -> Array:
    apart = jnp.abs(self - target)
    return _reduced(
        jnp.where(apart <= delta, 0.5 * apart**2, delta * (apart - 0.5 * delta)), reduction
    )


def binary_cross_entropy(
    self: Array, target: Array, weight: Array | None = None, reduction: int = 1
) -> Array:
    """Returns -(t log p + (1 - t) log(1 - p)); no logarithm is below -100, as in PyTorch."""
    least = -100.0
    log_p = jnp.maximum(jnp.log(self), least)
    log_q = jnp.maximum(jnp.log1p(-self), least)
    loss = -(target * log_p + (1 - target) * log_q)
    return _reduced(loss if weight is None else loss * weight, reduction)


def binary_cross_entropy_with_logits(
    self: Array,
    target: Array,
    weight: Array | None = None,
    pos_weight: Array | None = None,
    reduction: int = 1,
) -> Array:
    positive: Any = 1.0 if pos_weight is None else pos_weight
    log_p, log_q = jax.nn.log_sigmoid(self), jax.nn.log_sigmoid(-self)
    loss = -(positive * target * log_p + (1 - target) * log_q)
    return _reduced(loss if weight is None else loss * weight, reduction)


def kl_div(self: Array, target: Array, reduction: int = 1, log_target: bool = False) -> Array:
    """Returns t (log t - x), x being log-probabilities; so may be what is given for t."""
    x, t = promoted(self, target)
    loss = jnp.exp(t) * (t - x) if log_target else special.xlogy(t, t) - t * x
    return _reduced(loss, reduction)


def _classes(self: Array, target: Array, ignore_index: int) -> tuple[int, Array, Array]:
    """Returns the axis of classes, which samples are kept, and their classes, 0 for the others."""
    axis = 1 if self.ndim > 1 else 0
    if target.shape != self.shape[:axis] + self.shape[axis + 1 :]:
        raise InputError(f"classes {list(target.shape)} do not fit {list(self.shape)}.")
    kept = target != ignore_index
    return axis, kept, jnp.where(kept, target, 0)


def nll_loss(
    self: Array,
    target: Array,
    weight: Array | None = None,
    reduction: int = 1,
    ignore_index: int = -100,
) -> Array:
    """Returns -w[t] x[t] of log-probabilities [B, C, *S] or [C] and classes [B, *S] or []."""
    return nll_loss_forward(self, target, weight, reduction, ignore_index)[0]


def nll_loss_forward(
    self: Array, target: Array, weight: Array | None, reduction: int, ignore_index: int
) -> tuple[Array, Array]:
    """Returns the same, and the sum of the weights, by which a mean is taken."""
    axis, kept, place = _classes(self, target, ignore_index)
    picked = jnp.take_along_axis(self, jnp.expand_dims(place, axis), axis=axis).squeeze(axis)
    own = jnp.ones_like(picked) if weight is None else weight[place]
    own = jnp.where(kept, own, 0)
    total, losses = own.sum(), jnp.where(kept, -own * picked, 0)
    return (losses.sum() / total if reduction == 1 else _reduced(losses, reduction)), total


def cross_entropy_loss(
    self: Array,
    target: Array,
    weight: Array | None = None,
    reduction: int = 1,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Array:
    """Returns the cross entropy of logits [B, C, *S] or [C] from classes or from probabilities."""
    axis = 1 if self.ndim > 1 else 0
    classes = self.shape[axis]
    log_p = jax.nn.log_softmax(self, axis=axis)
    along = (classes, *(1,) * (self.ndim - axis - 1))
    weighed = log_p if weight is None else log_p * weight.reshape(along)
    if is_floating(target):
        if target.shape != self.shape:
            raise InputError(f"probabilities {list(target.shape)} of logits {list(self.shape)}.")
        likely = target * (1 - label_smoothing) + label_smoothing / classes
        return _reduced(-(weighed * likely).sum(axis), reduction)
    loss, total = nll_loss_forward(log_p, target, weight, reduction, ignore_index)
    if not label_smoothing:
        return loss
    spread = jnp.where(target != ignore_index, -weighed.sum(axis), 0)
    spread = spread.sum() / total if reduction == 1 else _reduced(spread, reduction)
    return (1 - label_smoothing) * loss + label_smoothing / classes * spread


def cosine_similarity(x1: Array, x2: Array, dim: int = 1, eps: float = 1e-8) -> Array:
    """Returns a . b / (max(|a|, eps) max(|b|, eps)) along an axis."""
    a, b = jnp.broadcast_arrays(*promoted(x1, x2))
    sizes = [jnp.maximum(norm_of(x, 2, (dim % x.ndim,), True), eps) for x in (a, b)]
    return (a / sizes[0] * (b / sizes[1])).sum(dim)


def pairwise_distance(
    x1: Array, x2: Array, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Array:
    """Returns |a - b + eps| along the last axis."""
    a, b = promoted(x1, x2)
    apart = a - b + eps
    return norm_of(apart, p, (apart.ndim - 1,), keepdim)


def cdist(x1: Array, x2: Array, p: float = 2.0, compute_mode: int | None = None) -> Array:
    """Returns the distance of each of rows [..., P, M] from each of [..., R, M]: [..., P, R]."""
    del compute_mode  # whether PyTorch expands the square, of which only rounding is another
    a, b = promoted(x1, x2)
    apart = a[..., :, None, :] - b[..., None, :, :]
    return norm_of(apart, p, (apart.ndim - 1,), False)


def cdist_kernel(x1: Array, x2: Array, p: float, compute_mode: int | None) -> Array:
    return cdist(x1, x2, p, compute_mode)


TABLE: dict[str, Callable[..., Any]] = {
    "aten.mse_loss.default": mse_loss, "aten.l1_loss.default": l1_loss,
    "aten.smooth_l1_loss.default": smooth_l1_loss, "aten.huber_loss.default": huber_loss,
    "aten.binary_cross_entropy.default": binary_cross_entropy,
    "aten.binary_cross_entropy_with_logits.default": binary_cross_entropy_with_logits,
    "aten.kl_div.default": kl_div, "aten.nll_loss.default": nll_loss,
    "aten.nll_loss_nd.default": nll_loss, "aten.nll_loss_forward.default": nll_loss_forward,
    "aten.cross_entropy_loss.default": cross_entropy_loss,
    "aten.cosine_similarity.default": cosine_similarity,
    "aten.pairwise_distance.default": pairwise_distance,
    "aten.cdist.default": cdist, "aten._cdist_forward.default": cdist_kernel,
}  # fmt: skip
