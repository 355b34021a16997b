"""The autoencoders, by name.

A model is a `flax.linen` module with `encode(x)`, `decode(z)` and `__call__(x, *, key, train)`
that returns an `Output`; it holds no loss and does no I/O. `register` gives a model of your own a
name; the command line also takes `package.module:Class`.
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

from msae_jax.config import ModelConfig
from msae_jax.errors import InputError, unknown_name
from msae_jax.models import conv, dense, multiscale, vae
from msae_jax.models.conv import Convolutional, SuperResolution
from msae_jax.models.dense import DenseAutoencoder
from msae_jax.models.layout import Layout
from msae_jax.models.multiscale import MultiScaleMlp, MultiScaleSignal
from msae_jax.models.output import Output
from msae_jax.models.vae import VariationalAutoencoder

__all__ = ["Output", "build", "names", "parameter_count", "register"]

Factory = Callable[..., nn.Module]

_MODELS: dict[str, Factory] = {
    "msae": MultiScaleSignal,
    "baseline": partial(DenseAutoencoder, features=128, hidden=(128,)),
    "msae-mlp": MultiScaleMlp,
    "baseline-mlp": partial(DenseAutoencoder, features=784, hidden=(256,)),
    "superres": SuperResolution,
    "conv": Convolutional,
    "stacked": partial(DenseAutoencoder, hidden=(512, 256, 128), output="sigmoid"),
    "vae3": partial(VariationalAutoencoder, hidden=(400,)),
    "vae5": partial(VariationalAutoencoder, hidden=(400, 200, 100)),
    "ae5": partial(
        DenseAutoencoder,
        hidden=(400, 200, 100),
        latent_dim=20,
        rectify_latent=True,
        output="sigmoid",
    ),
}

_LAYOUTS: dict[str, Layout] = {
    "msae": multiscale.MSAE,
    "baseline": dense.BASELINE,
    "msae-mlp": multiscale.MSAE_MLP,
    "baseline-mlp": dense.BASELINE,
    "superres": conv.SUPERRES,
    "conv": conv.CONV,
    "stacked": dense.STACKED,
    "vae3": vae.VAE3,
    "vae5": vae.VAE5,
    "ae5": dense.AE5,
}


def names() -> list[str]:
    """Returns the registered names, in the order of registration."""
    return list(_MODELS)


def register(name: str, factory: Factory, layout: Layout | None = None) -> None:
    """Names a linen module class (or a `functools.partial` of one) of your own.

    With a `layout` it converts from and to PyTorch; see `msae_jax.models.layout`.

    Raises:
      InputError: the name is taken.
    """
    if name in _MODELS:
        raise InputError(f"a model named {name!r} exists already; choose another name.")
    _MODELS[name] = factory
    if layout is not None:
        _LAYOUTS[name] = layout


def find_layout(name: str) -> Layout:
    """Returns the PyTorch layout of a model: as registered, or its class's `torch_layout`.

    Raises:
      InputError: there is no such model, or it has none.
    """
    layout = _LAYOUTS.get(name) or getattr(_find(name), "torch_layout", None)
    if layout is None:
        raise InputError(
            f"model {name!r} has no PyTorch layout: give register() one, or its class an attribute "
            "torch_layout."
        )
    return layout


def build(config: ModelConfig, sample_shape: tuple[int, ...] | None = None) -> nn.Module:
    """Builds the model of a configuration.

    Args:
      config: name, options, initial weights.
      sample_shape: the shape of one sample; sizes of the input that `config.options` leaves open
        follow it. Without it they have their defaults.

    Raises:
      InputError: an unknown name or option, or an option of the wrong type.
    """
    factory = _find(config.name)
    cls: Any = factory.func if isinstance(factory, partial) else factory
    defaults = {f.name: f.default for f in dataclasses.fields(cls)}
    annotations = {f.name: str(f.type) for f in dataclasses.fields(cls)}
    defaults |= factory.keywords if isinstance(factory, partial) else {}
    fields = [name for name in defaults if name not in ("parent", "name")]
    options = {}
    for name, value in config.options.items():
        if name not in fields:
            raise unknown_name(f"option of model {config.name!r}", name, fields)
        fixed = "..." not in annotations[name]
        options[name] = _checked(config.name, name, value, defaults[name], fixed=fixed)
    if sample_shape is not None and hasattr(cls, "sizes_for"):
        options = cls.sizes_for(tuple(sample_shape)) | options
    if "init_scheme" in fields:
        options.setdefault("init_scheme", config.init_scheme)
    elif config.init_scheme != "torch":
        raise InputError(f"model {config.name!r} has no field init_scheme")
    try:
        return factory(**options)
    except TypeError as error:
        raise InputError(f"model {config.name!r} cannot be built: {error}.") from error


def _find(name: str) -> Factory:
    if ":" not in name:
        if name not in _MODELS:
            raise unknown_name("model", name, _MODELS)
        return _MODELS[name]
    module_name, _, class_name = name.partition(":")
    try:
        factory = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, TypeError, ValueError, SyntaxError) as error:
        raise InputError(f"cannot import model {name!r}: {error}.") from error
    if not (inspect.isclass(factory) and issubclass(factory, nn.Module)):
        raise InputError(f"{name!r} is not a flax.linen.Module class.")
    return factory


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
