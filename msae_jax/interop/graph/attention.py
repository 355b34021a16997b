"""Attention, where a graph keeps it as one operator.

Source: Vaswani et al., "Attention is all you need" (2017), as
`torch.nn.functional.scaled_dot_product_attention`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from msae_jax.interop.graph.context import Context
from msae_jax.interop.graph.creation import dropped

Array = jax.Array


def _weights(scores: Array) -> Array:
    """Returns the softmax over the last axis; of a row that is masked whole, zeros."""
    masked = (scores == -jnp.inf).all(-1, keepdims=True)
    return jnp.where(masked, 0.0, jax.nn.softmax(jnp.where(masked, 0.0, scores), axis=-1))


def scaled_dot_product_attention(
    query: Array,
    key: Array,
    value: Array,
    attn_mask: Array | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    context: Context,
) -> Array:
    """Returns softmax(Q K^T scale + mask) V for [..., L, E], [..., S, E], [..., S, V].

    A mask of truth values says what takes part; one of numbers is added.
    """
    if enable_gqa:
        times = query.shape[-3] // key.shape[-3]
        key, value = jnp.repeat(key, times, axis=-3), jnp.repeat(value, times, axis=-3)
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = query @ jnp.swapaxes(key, -1, -2) * factor
    if is_causal:
        causal = jnp.tril(jnp.ones(scores.shape[-2:], bool))
        scores = jnp.where(causal, scores, -jnp.inf)
    if attn_mask is not None:
        if attn_mask.dtype == bool:
            scores = jnp.where(attn_mask, scores, -jnp.inf)
        else:
            scores = scores + attn_mask
    return dropped(_weights(scores), dropout_p, True, context) @ value


def flash_attention(
    query: Array,
    key: Array,
    value: Array,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    attn_mask: Array | None = None,
    scale: float | None = None,
    *,
    context: Context,
) -> tuple[Array, None]:
    rest = (attn_mask, dropout_p, is_causal, scale)
    return scaled_dot_product_attention(query, key, value, *rest, context=context), None


TABLE: dict[str, Callable[..., Any]] = {
    "aten.scaled_dot_product_attention.default": scaled_dot_product_attention,
    "aten._scaled_dot_product_flash_attention_for_cpu.default": flash_attention,
}
