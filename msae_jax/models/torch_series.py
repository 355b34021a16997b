"""The models of series in PyTorch: what ours are verified against.

Written with PyTorch's own layers only, so that they share no code with the JAX models. Series of
one channel are [B, T], those of several [B, C, T]. Needs the `torch` extra.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from msae_jax.models.torch_reference import Result


class Cut(nn.Module):
    """Keeps the first time steps."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length

    def forward(self, x: Tensor) -> Tensor:
        return x[..., : self.length]


class Level(nn.Module):
    """One level: [B, C, L] to [B, heads latent_dim], and back from [B, latent_dim]."""

    def __init__(self, m: Any, length: int, latent_dim: int, heads: int = 1) -> None:
        super().__init__()
        colours, coded = m.input_channels, heads * latent_dim
        if m.level == "dense":
            encoder: list[nn.Module] = [
                nn.Linear(colours * length, m.hidden),
                nn.ReLU(),
                nn.Linear(m.hidden, coded),
            ]
            decoder: list[nn.Module] = [
                nn.Linear(latent_dim, m.hidden),
                nn.ReLU(),
                nn.Linear(m.hidden, colours * length),
            ]
        else:
            (first, second), grid = m.channels, (length + 3) // 4
            encoder = [
                nn.Conv1d(colours, first, 3, stride=2, padding=1),
                nn.ReLU(),
                nn.Conv1d(first, second, 3, stride=2, padding=1),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(second * grid, coded),
            ]
            decoder = [
                nn.Linear(latent_dim, second * grid),
                nn.ReLU(),
                nn.Unflatten(1, (second, grid)),
                nn.ConvTranspose1d(second, first, 4, stride=2, padding=1),
                nn.ReLU(),
                nn.ConvTranspose1d(first, colours, 4, stride=2, padding=1),
                Cut(length),
            ]
        self.encoder, self.decoder = nn.Sequential(*encoder), nn.Sequential(*decoder)
        self.dense, self.shape = m.level == "dense", (colours, length)

    def encode(self, x: Tensor) -> Tensor:
        z: Tensor = self.encoder(x.flatten(1) if self.dense else x)
        return z

    def decode(self, z: Tensor) -> Tensor:
        return torch.unflatten(self.decoder(z), 1, self.shape) if self.dense else self.decoder(z)


def _shares(m: Any) -> list[int]:
    """Returns the latents of each level, as even as can be, the first ones getting the rest."""
    return [len(range(i, m.latent_dim, len(m.pools))) for i in range(len(m.pools))]


class Pyramid(nn.Module):
    """`pyramid`: what one level leaves, the next one encodes."""

    def __init__(self, m: Any, heads: int = 1) -> None:
        super().__init__()
        self.pools, self.colours = m.pools, m.input_channels
        self.length = m.features // m.input_channels
        self.levels = nn.ModuleList(
            Level(m, (self.length + pool - 1) // pool, share, heads)
            for pool, share in zip(m.pools, _shares(m), strict=True)
        )

    def _levels(self) -> Iterator[Level]:
        return (level for level in self.levels if isinstance(level, Level))

    def encode(self, x: Tensor) -> Tensor:
        return self.forward(x).z

    def forward(self, x: Tensor, eps: Tensor | None = None) -> Result:
        residual = x.reshape(len(x), self.colours, self.length)
        total, latents = torch.zeros_like(residual), []
        for pool, level in zip(self.pools, self._levels(), strict=True):
            z = level.encode(F.avg_pool1d(residual, pool, ceil_mode=True))
            part = F.interpolate(level.decode(z), scale_factor=float(pool), mode="linear")
            part = part[..., : self.length]
            residual, total = residual - part, total + part
            latents.append(z)
        return Result(total.reshape(x.shape), torch.cat(latents, dim=1))


class VariationalPyramid(Pyramid):
    """`pyramid-vae`: each level decodes a sample, and what that leaves, the next one encodes."""

    def __init__(self, m: Any) -> None:
        super().__init__(m, heads=2)
        self.shares = _shares(m)

    def encode(self, x: Tensor) -> Tensor:
        mu = self.forward(x).mu
        assert mu is not None
        return mu

    def forward(self, x: Tensor, eps: Tensor | None = None) -> Result:
        residual = x.reshape(len(x), self.colours, self.length)
        total, found = torch.zeros_like(residual), []
        noise = [None] * len(self.shares) if eps is None else eps.split(self.shares, dim=1)
        for pool, level, own in zip(self.pools, self._levels(), noise, strict=True):
            heads = level.encode(F.avg_pool1d(residual, pool, ceil_mode=True))
            mu, log_var = heads.chunk(2, dim=1)
            z = mu if own is None else mu + torch.exp(log_var / 2) * own
            part = F.interpolate(level.decode(z), scale_factor=float(pool), mode="linear")
            part = part[..., : self.length]
            residual, total = residual - part, total + part
            found.append((z, mu, log_var))
        z, mu, log_var = (torch.cat(parts, dim=1) for parts in zip(*found, strict=True))
        return Result(total.reshape(x.shape), z, None, mu, log_var)


class Centre(nn.Module):
    """Takes the mean off."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        return x - self.bias


class Pca(nn.Module):
    """`pca`: `components.weight` has a component a row, as scikit-learn's `components_`."""

    def __init__(self, m: Any) -> None:
        super().__init__()
        self.centre = Centre(m.features)
        self.components = nn.Linear(m.features, m.latent_dim, bias=False)

    def encode(self, x: Tensor) -> Tensor:
        z: Tensor = self.components(self.centre(x.flatten(1)))
        return z

    def forward(self, x: Tensor, eps: Tensor | None = None) -> Result:
        z = self.encode(x)
        recon = F.linear(z, self.components.weight.T, self.centre.bias)
        return Result(recon.reshape(x.shape), z)


class Recurrent(nn.LSTM):
    """A bidirectional LSTM of series [B, C, T]."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override, unused-ignore]
        y: Tensor = super().forward(x.transpose(1, 2))[0]
        return y.transpose(1, 2)


class Attention(nn.MultiheadAttention):
    """Self-attention of series [B, C, T]."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__(size, heads, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override, unused-ignore]
        x = x.transpose(1, 2)
        y: Tensor = super().forward(x, x, x, need_weights=False)[0]
        return y.transpose(1, 2)


class EachStep(nn.Linear):
    """A linear layer of each time step of [B, C, T]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class Lgta(nn.Module):
    """`lgta`: latents of each time step, those of the first step first."""

    def __init__(self, m: Any) -> None:
        super().__init__()
        self.colours, self.step_dim = m.input_channels, m.step_dim
        self.encoder = Recurrent(m.input_channels, m.hidden)
        self.attention = Attention(2 * m.hidden, m.heads)
        self.mu = EachStep(2 * m.hidden, m.step_dim)
        self.log_var = EachStep(2 * m.hidden, m.step_dim)
        self.decoder = Recurrent(m.step_dim, m.hidden)
        self.readout = EachStep(2 * m.hidden, m.input_channels)

    def _attended(self, x: Tensor) -> Tensor:
        found: Tensor = self.attention(self.encoder(x.reshape(len(x), self.colours, -1)))
        return found

    def encode(self, x: Tensor) -> Tensor:
        return self.mu(self._attended(x)).transpose(1, 2).flatten(1)

    def forward(self, x: Tensor, eps: Tensor | None = None) -> Result:
        h = self._attended(x)
        mu, log_var = (a.transpose(1, 2).flatten(1) for a in (self.mu(h), self.log_var(h)))
        z = mu if eps is None else mu + torch.exp(0.5 * log_var) * eps
        steps = z.reshape(len(z), -1, self.step_dim).transpose(1, 2)
        recon = self.readout(self.decoder(steps)).reshape(x.shape)
        return Result(recon, z, mu=mu, log_var=log_var)
