"""Dense and multi-scale models in PyTorch, with the published keys: what ours are verified against.

Written from the published descriptions, with PyTorch's own layers only, so that they share no code
with the JAX models. Images are [B, C, H, W]; flat inputs [B, D]. Needs the `torch` extra.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Result(NamedTuple):
    """What a model returns: reconstruction, decoded latent; logits and posterior where it has.

    `target` is what the reconstruction is compared with, where that is not the input.
    """

    recon: Tensor
    z: Tensor
    logits: Tensor | None = None
    mu: Tensor | None = None
    log_var: Tensor | None = None
    target: Tensor | None = None


def result_of(
    decoded: Tensor, z: Tensor, output: str, mu: Tensor | None = None, log_var: Tensor | None = None
) -> Result:
    logits = decoded if output == "sigmoid" else None
    return Result(ACTIVATIONS[output]()(decoded), z, logits, mu, log_var)


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "identity": nn.Identity, "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "elu": nn.ELU,
    "gelu": nn.GELU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh,
}  # fmt: skip


def linears(widths: Sequence[int], m: Any) -> list[nn.Module]:
    """Returns linear layers from each width to the next, with an activation between them."""
    act, pairs = ACTIVATIONS[m.activation], itertools.pairwise(widths)
    modules: list[nn.Module] = [layer for a, b in pairs for layer in (nn.Linear(a, b), act())]
    return modules[:-1]


class Autoencoder(nn.Module):
    """An `encoder` and a `decoder`: all models but the multi-scale and the variational ones."""

    def __init__(
        self, encoder: nn.Sequential, decoder: nn.Sequential, output: str, flat: bool = False
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.output, self.flat = encoder, decoder, output, flat

    def encode(self, x: Tensor) -> Tensor:
        z: Tensor = self.encoder(x.flatten(1) if self.flat else x)
        return z

    def forward(self, x: Tensor, eps: Tensor | None = None) -> Result:
        z = self.encode(x)
        decoded = self.decoder(z)
        return result_of(decoded.reshape(x.shape) if self.flat else decoded, z, self.output)


def dense(m: Any, flatten: bool = False) -> nn.Module:
    """`baseline`, `baseline-mlp`; `stacked` (flatten: `encoder.0` is a Flatten)."""
    widths = (m.features, *m.hidden, m.latent_dim)
    encoder, decoder = linears(widths, m), linears(widths[::-1], m)
    head = [nn.Flatten()] if flatten else []
    encoder += [ACTIVATIONS[m.activation]()] if m.rectify_latent else []
    coded = nn.Sequential(*head, *encoder), nn.Sequential(*decoder)
    return Autoencoder(*coded, m.output, flat=True)


class NamedAutoencoder(nn.Module):
    """`ae5`: fc1, fc2, ..., fc_z with a ReLU on the latent, and on."""

    def __init__(self, m: Any) -> None:
        super().__init__()
        self.output, self.rectify, n = m.output, m.rectify_latent, len(m.hidden)
        self.act = ACTIVATIONS[m.activation]()
        widths = (m.features, *m.hidden)
        for i in range(n):
            setattr(self, f"fc{i + 1}", nn.Linear(widths[i], widths[i + 1]))
        self.fc_z = nn.Linear(widths[-1], m.latent_dim)
        widths = (m.latent_dim, *widths[::-1])
        for i in range(n + 1):
            setattr(self, f"fc{n + 1 + i}", nn.Linear(widths[i], widths[i + 1]))
        self.before = [f"fc{i + 1}" for i in range(n)]
        self.after = [f"fc{n + 1 + i}" for i in range(n + 1)]

    def encode(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for name in self.before:
            x = self.act(getattr(self, name)(x))
        z: Tensor = self.fc_z(x)
        rectified: Tensor = self.act(z) if self.rectify else z
        return rectified

    def forward(self, x: Tensor, eps: Tensor | None = None) -> Result:
        shape = x.shape
        x = z = self.encode(x)
        for name in self.after[:-1]:
            x = self.act(getattr(self, name)(x))
        return result_of(getattr(self, self.after[-1])(x).reshape(shape), z, self.output)


class Variational(nn.Module):
    """`vae3`, `vae5`: z = mu + exp(log_var / 2) eps; without eps, z = mu."""

    def __init__(self, m: Any, heads: tuple[str, str] | None) -> None:
        super().__init__()
        self.output, n = m.output, len(m.hidden)
        self.act = ACTIVATIONS[m.activation]()
        widths = (m.features, *m.hidden)
        for i in range(n):
            setattr(self, f"fc{i + 1}", nn.Linear(widths[i], widths[i + 1]))
        self.heads = heads or (f"fc{n + 1}", f"fc{n + 2}")
        for name in self.heads:
            setattr(self, name, nn.Linear(widths[-1], m.latent_dim))
        first = n + 1 if heads else n + 3
        widths = (m.latent_dim, *widths[::-1])
        for i in range(n + 1):
            setattr(self, f"fc{first + i}", nn.Linear(widths[i], widths[i + 1]))
        self.before = [f"fc{i + 1}" for i in range(n)]
        self.after = [f"fc{first + i}" for i in range(n + 1)]

    def _hidden(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for name in self.before:
            x = self.act(getattr(self, name)(x))
        return x

    def encode(self, x: Tensor) -> Tensor:
        mu: Tensor = getattr(self, self.heads[0])(self._hidden(x))
        return mu

    def forward(self, x: Tensor, eps: Tensor | None = None) -> Result:
        shape, h = x.shape, self._hidden(x)
        mu, log_var = (getattr(self, name)(h) for name in self.heads)
        x = z = mu if eps is None else mu + torch.exp(log_var / 2) * eps
        for name in self.after[:-1]:
            x = self.act(getattr(self, name)(x))
        decoded = getattr(self, self.after[-1])(x).reshape(shape)
        return result_of(decoded, z, self.output, mu, log_var)


class MultiScale(nn.Module):
    """`msae`: a short- and a long-range encoder of signals [B, T] or [B, C, T], one decoder."""

    def __init__(self, m: Any) -> None:
        super().__init__()
        half = m.latent_dim // 2
        self.enc_short = self._encoder(m, 0, half)
        self.enc_long = self._encoder(m, 1, m.latent_dim - half)
        values = m.signal_length * m.input_channels
        self.decoder = nn.Sequential(*linears((m.latent_dim, m.hidden, values), m))
        self.output = m.output

    @staticmethod
    def _encoder(m: Any, i: int, latent_dim: int) -> nn.Sequential:
        act = ACTIVATIONS[m.activation]
        (first, second), k, d = m.channels, m.kernels[i], m.dilations[i]
        return nn.Sequential(
            nn.Unflatten(1, (1, m.signal_length)) if m.input_channels == 1 else nn.Identity(),
            nn.Conv1d(m.input_channels, first, k, padding=k // 2),
            act(),
            nn.Conv1d(first, second, k, dilation=d, padding=d * (k // 2)),
            act(),
            nn.AdaptiveAvgPool1d(m.pooled[i]),
            nn.Flatten(),
            *linears((second * m.pooled[i], m.hidden, latent_dim), m),
        )

    def encode(self, x: Tensor) -> Tensor:
        return torch.cat([self.enc_short(x), self.enc_long(x)], dim=1)

    def forward(self, x: Tensor, eps: Tensor | None = None) -> Result:
        z = self.encode(x)
        return result_of(self.decoder(z).reshape(x.shape), z, self.output)


class MultiScaleMlp(nn.Module):
    """`msae-mlp`: the small encoder reads the first part of the features."""

    def __init__(self, m: Any) -> None:
        super().__init__()
        half, self.small = m.latent_dim // 2, m.small_features
        self.encoder_small = nn.Sequential(*linears((self.small, m.small_hidden, half), m))
        large = (m.features, m.large_hidden, m.latent_dim - half)
        self.encoder_large = nn.Sequential(*linears(large, m))
        self.decoder = nn.Sequential(*linears((m.latent_dim, m.large_hidden, m.features), m))
        self.output = m.output

    def encode(self, x: Tensor) -> Tensor:
        return torch.cat([self.encoder_small(x[:, : self.small]), self.encoder_large(x)], dim=1)

    def forward(self, x: Tensor, eps: Tensor | None = None) -> Result:
        z = self.encode(x)
        return result_of(self.decoder(z), z, self.output)
