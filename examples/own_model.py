"""Trains a model, a loss and data of your own.

Run: python examples/own_model.py
"""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

import msae_jax as mj
from msae_jax.data import Dataset, Split
from msae_jax.models.output import finish
from msae_jax.train import losses


class Tied(nn.Module):
    """A linear autoencoder whose decoder is the transposed encoder."""

    features: int = 64
    latent_dim: int = 4

    def setup(self):
        shape = (self.features, self.latent_dim)
        self.kernel = self.param("kernel", nn.initializers.orthogonal(), shape)

    def encode(self, x):
        return x @ self.kernel

    def decode(self, z):
        return z @ self.kernel.T

    def __call__(self, x, *, key=None, train=False):
        z = self.encode(x)
        return finish(x, z, self.decode(z), "identity")


def laplace_nats(recon, x):
    """Returns `[B]` negative log-likelihoods of a Laplace distribution of unit scale, in nats."""
    return (jnp.abs(recon - x) + jnp.log(2.0)).sum(axis=1)


def main() -> None:
    rng = np.random.default_rng(0)
    t = np.linspace(0, 1, 64)
    x = np.sin(6 * t + rng.uniform(0, 6, (500, 1))).astype(np.float32)
    waves = Dataset("waves", Split(x[:400]), Split(x[400:]))

    mj.register("tied", Tied)
    losses.register("unit-laplace", losses.Likelihood(laplace_nats))
    changes = {"epochs": 20, "batch_size": 32, "objective.likelihood": "unit-laplace"}
    run = mj.fit(mj.config.override(mj.recipe("tied"), changes), waves)
    print(f"test MSE {run.history[0]['test_mse']:.4f} -> {run.history[-1]['test_mse']:.4f}")
    print("latents:", mj.embed(run.model, run.variables, waves.test.x).shape)


if __name__ == "__main__":
    main()
