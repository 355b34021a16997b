"""The autoencoders, by name.

A model is a `flax.linen` module with `encode(x)`, `decode(z)` and `__call__(x, *, key, train)`
that returns an `Output`; it holds no loss and does no I/O. Each family's file lists the records of
its models. `register` gives a model of your own a name; everything also takes `package.module:name`
of a class or a record.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from msae_jax.config import ModelConfig, TrainConfig
from msae_jax.errors import InputError, unknown_name
from msae_jax.models import (
    conv,
    conv_vae,
    dense,
    lgta,
    multiscale,
    pca,
    pyramid,
    pyramid_vae,
    vae,
)
from msae_jax.models.layout import Layout
from msae_jax.models.output import Output
from msae_jax.models.record import ModelRecord
from msae_jax.system.names import add, find, is_program, wrong_kind

__all__ = ["ModelRecord", "Output", "build", "names", "parameter_count", "record", "register"]

_RECORDS: dict[str, ModelRecord] = {
    **multiscale.RECORDS,
    **dense.RECORDS,
    **conv.RECORDS,
    **vae.RECORDS,
    **conv_vae.RECORDS,
    **pyramid.RECORDS,
    **pyramid_vae.RECORDS,
    **lgta.RECORDS,
    **pca.RECORDS,
}

_PROGRAMS = "msae_jax.interop.programs"
"""What opens `.pt2` files as models; only its name is known here, as it builds on this package."""


def names() -> list[str]:
    """Returns the registered names, in the order of registration."""
    return list(_RECORDS)


def register(
    name: str,
    factory: Callable[..., nn.Module] | ModelRecord,
    layout: Layout | None = None,
    *,
    recipe: TrainConfig | None = None,
    reference: Callable[[Any], Any] | None = None,
    label: str | None = None,
    colour: str | None = None,
    parameters: int | None = None,
) -> None:
    """Names a model of your own: a linen module class, a partial of one, or a whole record.

    Args:
      layout: with it the model converts from and to PyTorch; see `msae_jax.models.layout`. By
        default the class's attribute `torch_layout`, where it has one.
      recipe, reference, label, colour, parameters: see `ModelRecord`.

    Raises:
      InputError: the name is taken.
    """
    own = factory
    if not isinstance(own, ModelRecord):
        layout = layout or getattr(factory, "torch_layout", None)
        own = ModelRecord(own, layout, recipe, reference, label, colour, parameters)
    add("model", name, own, _RECORDS)


def record(name: str) -> ModelRecord:
    """Returns the record of a registered model, or of `package.module:name`.

    The latter names a record or a class; a class may have an attribute `torch_layout`. The path of
    a `.pt2` file of PyTorch's is a model, too.

    Raises:
      InputError: there is no such model, or what the name stands for is none.
    """
    if is_program(name):
        opener = importlib.import_module(_PROGRAMS)
        program: ModelRecord = opener.open_model(name)
        return program
    own = find("model", name, _RECORDS)
    if isinstance(own, ModelRecord):
        return own
    if not (inspect.isclass(own) and issubclass(own, nn.Module)):
        raise wrong_kind("model", name, own, "a flax.linen.Module class or a ModelRecord")
    return ModelRecord(own, getattr(own, "torch_layout", None))


def find_layout(name: str) -> Layout:
    """Returns the PyTorch layout of a model.

    Raises:
      InputError: there is no such model, or it has none.
    """
    layout = record(name).layout
    if layout is None:
        raise InputError(
            f"model {name!r} has no PyTorch layout: give register() one, or its class an attribute "
            "torch_layout."
        )
    return layout


def reference(name: str, model: nn.Module) -> Any:
    """Returns the PyTorch module that a built model is verified against.

    Raises:
      InputError: there is none.
    """
    make = record(name).reference
    if make is None:
        raise InputError(
            f"no PyTorch reference module for model {name!r}: give its record one (reference=)."
        )
    return make(model)


def build(
    config: ModelConfig, sample_shape: tuple[int, ...] | None = None, *, series: bool = False
) -> nn.Module:
    """Builds the model of a configuration.

    Args:
      config: name, options, initial weights.
      sample_shape: the shape of one sample; sizes of the input that `config.options` leaves open
        follow it. Without it they have their defaults.
      series: whether samples `[T, C]` are series of C channels. Without it a model that takes
        other samples, too, may flatten them as it does images.

    Raises:
      InputError: an unknown name or option, or an option of the wrong type; or series of several
        channels for a model that takes none.
    """
    factory = record(config.name).factory
    cls: Any = factory.func if isinstance(factory, partial) else factory
    defaults = {f.name: f.default for f in dataclasses.fields(cls)}
    annotations = {f.name: str(f.type) for f in dataclasses.fields(cls)}
    defaults |= factory.keywords if isinstance(factory, partial) else {}
    hidden = ("parent", "name", *getattr(cls, "fixed_fields", ()))
    fields = [name for name in defaults if name not in hidden]
    options = {}
    for name, value in config.options.items():
        if name not in fields:
            raise unknown_name(f"option of model {config.name!r}", name, fields)
        fixed = "..." not in annotations[name]
        options[name] = _checked(config.name, name, value, defaults[name], fixed=fixed)
    if sample_shape is not None:
        options = _sizes(config.name, cls, tuple(sample_shape), series) | options
    if "init_scheme" in fields:
        options.setdefault("init_scheme", config.init_scheme)
    elif config.init_scheme != "torch":
        raise InputError(f"model {config.name!r} has no field init_scheme")
    try:
        return factory(**options)
    except TypeError as error:
        raise InputError(f"model {config.name!r} cannot be built: {error}.") from error


def _sizes(model: str, cls: Any, shape: tuple[int, ...], series: bool) -> dict[str, Any]:
    """Returns the fields of a model's class that follow the shape of a sample."""
    if series and hasattr(cls, "series_sizes"):
        return dict(cls.series_sizes(shape))
    if series and len(shape) > 1 and shape[-1] > 1:
        takers = ", ".join(name for name in names() if takes_series(name))
        raise InputError(
            f"model {model!r} takes no series of several channels, got {list(shape)}: use one of "
            f"{takers}, or choose one channel."
        )
    return dict(cls.sizes_for(shape)) if hasattr(cls, "sizes_for") else {}


def takes_series(name: str) -> bool:
    """Returns whether a model takes series `[T, C]` of several channels.

    Its class then has the static method `series_sizes(sample_shape)`, beside `sizes_for`.
    """
    factory = record(name).factory
    return hasattr(factory.func if isinstance(factory, partial) else factory, "series_sizes")


def _checked(model: str, name: str, value: Any, default: Any, *, fixed: bool) -> Any:
    """Returns `value` in the type of `default`, or raises; a `fixed` tuple keeps its length."""
    if isinstance(default, tuple):
        if isinstance(value, int):
            value = (value,)
        sized = isinstance(value, (list, tuple))
        if sized and value and all(type(v) is int and v > 0 for v in value):
            if fixed and len(value) != len(default):
                raise InputError(f"{model}: {name} takes {len(default)} integers, got {value!r}.")
            return tuple(value)
        raise InputError(f"{model}: {name} must be a list of positive integers, got {value!r}.")
    if isinstance(default, float) and type(value) in (int, float):
        return float(value)
    if default in (None, dataclasses.MISSING):
        return value
    if type(value) is not type(default):
        kind = type(default).__name__
        raise InputError(f"{model}: {name} must be of type {kind} like {default!r}, got {value!r}.")
    if type(value) is int and value < 1:
        raise InputError(f"{model}: {name} must be positive, got {value}.")
    return value


@partial(jax.jit, static_argnums=(0, 2))
def init_variables(
    model: nn.Module, key: jax.Array, sample_shape: tuple[int, ...]
) -> Mapping[str, Any]:
    """Returns the initial `params` (and `batch_stats`) for samples of `sample_shape`."""
    return model.init(key, jnp.zeros((2, *sample_shape), jnp.float32))


def parameter_count(model: nn.Module, sample_shape: tuple[int, ...] | None = None) -> int:
    """Returns the number of trainable parameters, without computing any."""
    shape = model.sample_shape if sample_shape is None else sample_shape
    variables = jax.eval_shape(lambda key: init_variables(model, key, shape), jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
