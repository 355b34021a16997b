"""An autoencoder with latents for each time step, for augmentation in latents: `lgta`.

The encoder is a bidirectional LSTM and self-attention over its outputs; two linear layers give the
mean and the log variance of d latents at every step. The decoder is a bidirectional LSTM over the
latents and a linear layer. Transformations of series can so act on the latents along the time, and
`objective.equivariance` asks that it makes no difference whether they act there or on the data.

Source: Roque, Soares, Cerqueira and Torgo, "L-GTA" (arXiv 2507.23615), in the form of 2026: d = 4,
no pooling over time, squared error + 0.1 KL + 1.0 equivariance, the KL term rising over 30 epochs;
Adam at 1e-3 with weight decay 1e-4, gradients clipped at norm 1, batches of 8. The widths, the
heads, the epochs and the reduction of the KL term are our choice: the last is a sum over the
latents of a time step, and a mean over time steps.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from msae_jax.config import ModelConfig, Objective, OptimizerConfig, TrainConfig
from msae_jax.models.layers import Linear
from msae_jax.models.layout import Layer, Layout, Shapes
from msae_jax.models.output import Output
from msae_jax.models.record import ModelRecord
from msae_jax.models.recurrent import BidirectionalLstm, SelfAttention
from msae_jax.models.series import as_series, series_shape, series_sizes


class Lgta(nn.Module):
    """A variational autoencoder of series `[B, T]` or `[B, T, C]` with latents `[B, T step_dim]`.

    Given a key, `__call__` decodes a sample of the posterior; without one, its mean.

    Attributes:
      features: values per sample, T times C. input_channels: C; of `[B, T]` it is 1.
      step_dim: latents of each time step.
      hidden: width of the LSTMs in each direction. heads: of the attention; they divide 2 hidden.
      init_scheme: `torch` or `flax` initial weights.
    """

    features: int = 128
    input_channels: int = 1
    step_dim: int = 4
    hidden: int = 32
    heads: int = 2
    init_scheme: str = "torch"

    def setup(self) -> None:
        self.encoder = BidirectionalLstm(self.hidden, self.init_scheme)
        self.attention = SelfAttention(self.heads, self.init_scheme)
        self.mu = Linear(self.step_dim, self.init_scheme)
        self.log_var = Linear(self.step_dim, self.init_scheme)
        self.decoder = BidirectionalLstm(self.hidden, self.init_scheme)
        self.readout = Linear(self.input_channels, self.init_scheme)

    series_sizes = staticmethod(series_sizes)

    @staticmethod
    def sizes_for(sample_shape: tuple[int, ...]) -> dict[str, int]:
        return series_sizes(sample_shape)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return series_shape(self.features, self.input_channels, squeeze=True)

    @property
    def latent_grid(self) -> tuple[int, int]:
        """(T, step_dim): what the latents of a sample are the flattening of."""
        return series_shape(self.features, self.input_channels)[0], self.step_dim

    @property
    def latent_dim(self) -> int:
        return self.latent_grid[0] * self.step_dim

    def posterior(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns mean and log variance, each `[B, T step_dim]`, of `[B, T]` or `[B, T, C]`."""
        h = self.encoder(as_series(x, self.features, self.input_channels, "L-GTA"))
        h = self.attention(h)
        shape = (x.shape[0], self.latent_dim)
        return self.mu(h).reshape(shape), self.log_var(h).reshape(shape)

    def encode(self, x: jax.Array) -> jax.Array:
        """Returns the posterior mean `[B, T step_dim]`, the latents of the first step first."""
        return self.posterior(x)[0]

    def decode(self, z: jax.Array) -> jax.Array:
        """Returns reconstructions, `[B, T]` or `[B, T, C]`, of latents `[B, T step_dim]`."""
        h = self.decoder(z.reshape(z.shape[0], *self.latent_grid))
        return self.readout(h).reshape(z.shape[0], *self.sample_shape)

    def __call__(
        self, x: jax.Array, *, key: jax.Array | None = None, train: bool = False
    ) -> Output:
        mu, log_var = self.posterior(x)
        z = mu
        if key is not None:
            z = mu + jnp.exp(0.5 * log_var) * jax.random.normal(key, mu.shape, mu.dtype)
        return Output(self.decode(z).reshape(x.shape), z, mu=mu, log_var=log_var)


LAYERS = (
    Layer("encoder", "encoder", "lstm"),
    Layer("attention", "attention", "attention"),
    Layer("mu", "mu"),
    Layer("log_var", "log_var"),
    Layer("decoder", "decoder", "lstm"),
    Layer("readout", "readout"),
)


def _sizes(shapes: Shapes) -> dict[str, Any]:
    """Everything but the number of time steps and of heads, which no weight depends on."""
    return {
        "input_channels": shapes["encoder.weight_ih_l0"][1],
        "hidden": shapes["encoder.weight_hh_l0"][1],
        "step_dim": shapes["mu.weight"][0],
    }


def _torch_lgta(model: Lgta) -> Any:
    from msae_jax.models import torch_series

    return torch_series.Lgta(model)


RECORDS = {
    "lgta": ModelRecord(
        Lgta,
        Layout(lambda model: LAYERS, _sizes),
        TrainConfig(
            ModelConfig("lgta"),
            data="sines",
            # `mean` divides the KL term by half of a sample's values: 0.05 is the 0.1 of above.
            objective=Objective(beta=0.05, anneal_epochs=30, equivariance=1.0),
            optimizer=OptimizerConfig("adamw", 1e-3, weight_decay=1e-4, clip_norm=1.0),
            epochs=40,
            batch_size=8,
        ),
        _torch_lgta,
        "L-GTA",
        "pink",
    )
}
