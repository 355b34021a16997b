"""Which variables of a model are meant by `encoder`, `decoder` or a pattern of their names.

A selection is one or more of these, separated by commas. `decoder` is what the model's `decode`
reads, `encoder` is everything else. A pattern, in which `*` stands for any characters of one name,
selects what is named so and all that lies below it: `conv_*`, `norm_0`, `*bias*`, `scale`. Names
joined by `/` follow each other: `encoder/linear_0`, `decoder/*/bias`.

The variables are parameters and batch statistics; their names are the paths of Flax, as in
`params/encoder/linear_0/kernel`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.extend import core

from msae_jax import models
from msae_jax.errors import InputError, unknown_name
from msae_jax.models.layers import BatchNorm

PARTS = ("encoder", "decoder")
Selected = frozenset[str]


def selected(what: str, model: nn.Module, sample_shape: tuple[int, ...]) -> Selected:
    """Returns the names of the variables that a selection means; of an empty text none.

    Raises:
      InputError: a part of it means nothing, or the model does not tell encoder from decoder.
    """
    if not what:
        return frozenset()
    shapes = jax.eval_shape(
        lambda key: models.init_variables(model, key, sample_shape), jax.random.key(0)
    )
    known = names(shapes)
    found: set[str] = set()
    for pattern in (part.strip() for part in what.split(",")):
        if pattern in PARTS:
            decoder = _read_by_decode(model, shapes, sample_shape)
            chosen = decoder if pattern == "decoder" else {*known} - decoder
        else:
            chosen = {name for name in known if _matches(pattern, name.split("/")[1:])}
        if not chosen:
            listed = [name.partition("/")[2] for name in known]
            raise unknown_name("part or parameter", pattern, [*PARTS, *listed])
        found |= chosen
    if all(name in found for name in known if name.startswith("params/")):
        raise InputError(f"{what!r} means every parameter of the model: none would be left.")
    return frozenset(found)


def names(variables: Any) -> list[str]:
    """Returns the names of the leaves of Flax variables, in their order."""
    return [_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(variables)]


def pick(chosen: Selected, collection: str, fn: Callable[..., Any], *trees: Any) -> Any:
    """Returns trees of one collection joined by `fn(is_chosen, *leaves)`, leaf by leaf."""

    def at(path: Any, *leaves: Any) -> Any:
        return fn(f"{collection}/{_name(path)}" in chosen, *leaves)

    return jax.tree_util.tree_map_with_path(at, *trees)


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _matches(pattern: str, path: list[str]) -> bool:
    """Whether the names of a pattern are among those of a path, one after another."""
    wanted = pattern.split("/")
    begins = range(len(path) - len(wanted) + 1)
    return any(all(map(fnmatchcase, path[i:], wanted)) for i in begins)


def _read_by_decode(model: nn.Module, shapes: Any, sample_shape: tuple[int, ...]) -> set[str]:
    """Returns the names of the variables that reconstructions of given latents hang on.

    Raises:
      InputError: the model cannot be cut into an encoder and a decoder.
    """
    x = jax.ShapeDtypeStruct((1, *sample_shape), jnp.float32)
    out: Any = jax.eval_shape(model.apply, shapes, x)
    if out.z is None:
        raise InputError(
            "the latent of this program is not certain, and with it what its encoder is: freeze "
            "by names of parameters, or say which value the latent is, --set z=encoder."
        )
    code = jax.ShapeDtypeStruct((1, *getattr(model, "code_shape", out.z.shape[1:])), jnp.float32)

    def decode(variables: Any, z: jax.Array) -> Any:
        return model.apply(variables, z, method="decode")

    jaxpr = jax.make_jaxpr(decode)(shapes, code).jaxpr
    needed = {v for v in jaxpr.outvars if isinstance(v, core.Var)}
    for equation in reversed(jaxpr.eqns):
        if any(v in needed for v in equation.outvars):
            needed |= {v for v in equation.invars if isinstance(v, core.Var)}
    known = names(shapes)
    read = {name for name, v in zip(known, jaxpr.invars, strict=False) if v in needed}
    # what nothing reads, such as a count of batches, goes with the other variables of its module
    modules = {_module(name) for name in read}
    return read | {n for n in known if n.startswith("batch_stats/") and _module(n) in modules}


def _module(name: str) -> str:
    return name.partition("/")[2].rpartition("/")[0]


def as_in_evaluation(frozen: Selected) -> contextlib.AbstractContextManager[None]:
    """Returns a context in which batch norm whose statistics are frozen normalises by them.

    So a frozen part computes in training what it computes in evaluation.
    """
    if not frozen:
        return contextlib.nullcontext()

    def call(method: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        module = context.module
        stats = "/".join(("batch_stats", *module.path, "mean"))
        if context.method_name == "__call__" and stats in frozen:
            if isinstance(module, BatchNorm):
                kwargs = kwargs | {"train": False}
            elif isinstance(module, nn.BatchNorm) and module.use_running_average is None:
                kwargs = kwargs | {"use_running_average": True}
        return method(*args, **kwargs)

    return nn.intercept_methods(call)
