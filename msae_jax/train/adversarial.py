"""A discriminator that is trained beside the model, in the same step.

With D its logit, real samples r, and fakes f that the model makes, it minimises

    1/2 softplus(-D(r)) + 1/2 softplus(D(f)) + penalty/2 |dD/dr|^2

and the model minimises its own objective, with its KL term replaced by

    beta KL + weight softplus(-D(f))

Both are means over the batch, in nats. Where the discriminator cannot tell one from the other
either entropy is log 2 = 0.693.

    latents   r ~ N(0, I), f = z: an adversarial autoencoder (Makhzani et al., 2016)
    images    r = x, f = decode(z) and, of a variational model, decode(p), p ~ N(0, I), with equal
              weights: a VAE-GAN (Larsen et al., 2016). z is fixed here: the encoder does not play.

Under the similarity `features`, with h the discriminator's features, the reconstruction term is
1/2 |h(x) - h(recon)|^2, the negative log-likelihood of Larsen et al. without its constant.

What keeps it stable: the model's term does not saturate where the discriminator is sure (Goodfellow
et al., 2014); the penalty, R1, without which training need not converge (Mescheder et al., 2018);
Adam with a first moment of 0.5 (Radford et al., 2016) and a learning rate of the discriminator's
own (Heusel et al., 2017); layer norm, so that the features keep their scale. Both players step at
once, from the gradients at the same weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from msae_jax import models
from msae_jax.config import Adversarial, TrainConfig
from msae_jax.errors import InputError
from msae_jax.models.discriminators import ImageDiscriminator, LatentDiscriminator
from msae_jax.models.output import Output
from msae_jax.train.losses import Terms
from msae_jax.train.optimizer import discriminator_optimizer


class Opponent(NamedTuple):
    """What a training program knows of the discriminator; hashable.

    Attributes:
      shape: of what it judges, without the batch.
    """

    settings: Adversarial
    model: nn.Module
    optimizer: optax.GradientTransformation
    shape: tuple[int, ...]


class Adversary(NamedTuple):
    """What training changes of the discriminator."""

    params: chex.ArrayTree
    opt_state: optax.OptState


class Duel(NamedTuple):
    """What the players lose to each other, each `[B]`, or means of it, in nats."""

    adversarial_nats: jax.Array
    discriminator_nats: jax.Array


class Played(NamedTuple):
    """What comes of a batch.

    Attributes:
      terms: those that the model is trained by, to be counted with a beta of 1.
      loss: of the discriminator; its gradient touches nothing of the model.
    """

    terms: Terms
    loss: jax.Array
    duel: Duel


def opponent_of(
    config: TrainConfig, model: nn.Module, sample_shape: tuple[int, ...]
) -> Opponent | None:
    """Returns the discriminator of a configuration, or None.

    Raises:
      InputError: the model has no step to train, no certain latents, or makes no images.
    """
    settings = config.adversarial
    if settings is None:
        return None
    if models.record(config.model.name).fit is not None:
        raise InputError(
            f"{config.model.name} is fitted in closed form, and no discriminator can train it: "
            "leave out adversarial, or use another model."
        )
    variables = jax.eval_shape(
        lambda key: models.init_variables(model, key, sample_shape), jax.random.key(0)
    )
    x = jax.ShapeDtypeStruct((1, *sample_shape), jnp.float32)
    out: Any = jax.eval_shape(model.apply, variables, x)
    if out.z is None:
        raise InputError(
            "the latent of this program is not certain, and a discriminator needs it: say which "
            "value it is, --set z=encoder."
        )
    judge: nn.Module
    if settings.on == "latents":
        judge, shape = LatentDiscriminator(settings.width or 256), out.z.shape[1:]
    else:
        _check_images(out, sample_shape)
        judge, shape = ImageDiscriminator(settings.width or 32), sample_shape
    optimizer = discriminator_optimizer(settings.learning_rate)
    return Opponent(settings, judge, optimizer, shape)


def _check_images(out: Output, sample_shape: tuple[int, ...]) -> None:
    if len(sample_shape) != 3 or sample_shape[-1] > 4:
        raise InputError(
            "adversarial 'images' needs images [H, W, C] of at most 4 channels, got samples of "
            f"shape {list(sample_shape)}: 'latents' works for any data."
        )
    if out.target is not None or out.recon.shape[1:] != sample_shape:
        raise InputError(
            "adversarial 'images' needs a model that reconstructs its input, and this one "
            "reconstructs something else: 'latents' works for it."
        )


def begin(opponent: Opponent, key: jax.Array) -> Adversary:
    """Returns the discriminator before the first step."""
    params = opponent.model.init(key, jnp.zeros((1, *opponent.shape)))["params"]
    return Adversary(params, opponent.optimizer.init(params))


def step(opponent: Opponent, adversary: Adversary, gradient: Any) -> Adversary:
    """Returns the discriminator after a step of its own optimiser."""
    params, opt_state = adversary
    updates, opt_state = opponent.optimizer.update(gradient, opt_state, params)
    return Adversary(optax.apply_updates(params, updates), opt_state)


def play(
    opponent: Opponent,
    params: Any,
    out: Output,
    x: jax.Array,
    terms: Terms,
    beta: jax.Array | float,
    decode: Callable[[jax.Array], Any],
    key: jax.Array,
) -> Played:
    """Returns what comes of a batch; to be differentiated by both players' parameters at once.

    Args:
      params: of the discriminator.
      out: the model's output. x: what it is to reconstruct, `[B, ...]`.
      terms: the model's own, `[B]` each. beta: the weight of their KL.
      decode: of latents, what the model makes of them in evaluation.
      key: of the samples of N(0, I).
    """
    settings, judge = opponent.settings, opponent.model
    seen_by_model = {"params": jax.lax.stop_gradient(params)}
    prior = jax.random.normal(key, out.z.shape, out.z.dtype)
    if settings.on == "latents":
        real, fakes = prior, [out.z]
    else:
        latents = [out.z] if out.mu is None else [out.z, prior]
        real, fakes = x, [decode(jax.lax.stop_gradient(z)).reshape(x.shape) for z in latents]

    def logits(of: jax.Array) -> jax.Array:
        found: jax.Array = judge.apply({"params": params}, jax.lax.stop_gradient(of))[0]
        return found

    slope = jax.grad(lambda r: judge.apply({"params": params}, r)[0].sum())(real)
    slope = jnp.square(slope.reshape(len(x), -1)).sum(axis=1)
    tricked = [jax.nn.softplus(logits(fake)) for fake in fakes]
    nats = 0.5 * (jax.nn.softplus(-logits(real)) + sum(tricked) / len(fakes))
    lost = [jax.nn.softplus(-judge.apply(seen_by_model, fake)[0]) for fake in fakes]
    adversarial = jnp.stack(lost).mean(axis=0)
    counted = terms._replace(kl_nats=beta * terms.kl_nats + settings.weight * adversarial)
    if settings.similarity == "features":

        def features(a: jax.Array) -> jax.Array:
            found: Any = judge.apply(seen_by_model, a)
            return found[1]

        counted = _in_features(counted, out.recon, x, features)
    loss = (nats + 0.5 * settings.penalty * slope).mean()
    return Played(counted, loss, Duel(adversarial, nats))


def _in_features(
    terms: Terms, recon: jax.Array, x: jax.Array, features: Callable[[jax.Array], jax.Array]
) -> Terms:
    """Returns the terms with the reconstruction error of features, in nats and as an error."""
    squared = jnp.square(features(recon) - features(x)).sum(axis=1)
    return terms._replace(recon_nats=0.5 * squared, mse=squared / (x.size // len(x)))
