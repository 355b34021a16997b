"""Samples of a trained autoencoder: latents of a prior, decoded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from msae_jax.analysis.latents import Decoded, decode
from msae_jax.data.classes import with_classes
from msae_jax.errors import InputError
from msae_jax.generation.priors import Prior
from msae_jax.models.output import Output
from msae_jax.train.evaluation import BATCH_SIZE


class Trained(Protocol):
    """A model with its variables: of `load_weights`, or a run of `fit`."""

    @property
    def model(self) -> nn.Module: ...

    @property
    def variables(self) -> Mapping[str, Any]: ...


def sample(
    weights: Trained,
    n: int,
    prior: Prior,
    seed: int = 0,
    *,
    y: np.ndarray | None = None,
    sample_shape: tuple[int, ...] | None = None,
    batch_size: int = BATCH_SIZE,
) -> Decoded:
    """Decodes n latents of a prior, batch by batch.

    Args:
      prior: of `fit_prior`, or `standard`.
      seed: the only randomness; the first samples do not depend on n.
      y: the classes `[n]` of the samples, of a model of images given their class, and of no other.
      sample_shape: of one sample `[...]`; by default what the model tells, or as it decodes.

    Returns:
      Latents `z`, `[n, D]`, without classes, and samples `x`, float32 `[n, ...]`, in the units of
      the data that the model was trained on; of uint8 these are intensities divided by 255.

    Raises:
      InputError: n is below 1; the prior is of another number of latents than the decoder reads;
        classes are missing, or not asked for, or not those of the model.
    """
    model, variables = weights.model, weights.variables
    classes = classes_of(model)
    z = prior.draw(n, seed)
    code = z
    if classes and y is None:
        raise InputError(
            f"{type(model).__name__} makes images given one of {classes} classes: give y, {n} of "
            f"them from 0 to {classes - 1}."
        )
    if y is not None:
        if not classes:
            raise InputError(f"{type(model).__name__} is given no class: leave y out.")
        code = with_classes(z, np.asarray(y), classes)
    wanted = latent_dim_of(weights)
    if wanted is not None and prior.latent_dim != wanted:
        raise InputError(
            f"the prior is of {prior.latent_dim} latents, the decoder reads {wanted}: fit it to "
            "latents of this model."
        )
    x = decode(model, variables, code, batch_size=batch_size)
    return Decoded(z, _shaped(model, x, sample_shape))


def classes_of(model: nn.Module) -> int:
    """Returns how many classes a model is given beside a sample, 0 where it is given none."""
    return int(getattr(model, "classes", 0)) if hasattr(model, "code_shape") else 0


def is_variational(weights: Trained) -> bool:
    """Whether a model has a Gaussian posterior, whose KL term asks for the prior N(0, I)."""
    out = _output(weights.model, weights.variables)
    return out is not None and out.mu is not None


def latent_dim_of(weights: Trained) -> int | None:
    """Returns the number of latents of a sample; None where the model does not tell."""
    out = _output(weights.model, weights.variables)
    return None if out is None or out.z is None else int(out.z.shape[1])


def _output(model: nn.Module, variables: Mapping[str, Any]) -> Output | None:
    """Returns the shapes of a model's output; computes nothing."""
    shape = getattr(model, "sample_shape", None)
    if shape is None:
        return None
    x = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    return cast(Output, jax.eval_shape(model.apply, variables, x))


def _shaped(model: nn.Module, x: np.ndarray, shape: tuple[int, ...] | None) -> np.ndarray:
    if shape is None and classes_of(model):
        shape = getattr(model, "image_shape", None)
    if shape is None or x.shape[1:] == tuple(shape):
        return x
    if math.prod(x.shape[1:]) != math.prod(shape):
        raise InputError(
            f"{type(model).__name__} decodes to {list(x.shape[1:])}, which are no samples of the "
            f"shape {list(shape)}."
        )
    own = getattr(model, "as_samples", None)  # a program has its own order of values
    return x.reshape(len(x), *shape) if own is None else np.asarray(own(x, tuple(shape)))
