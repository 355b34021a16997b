"""The models of images in PyTorch: `superres`, `conv`, `conv-vae`; see `torch_reference`."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from msae_jax.models.torch_reference import ACTIVATIONS, Autoencoder, Result, linears, result_of


class Crop(nn.Module):
    """Leaves out the rows and columns beyond an image's height and width."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, : self.height, : self.width]


def _crop(m: Any) -> list[nn.Module]:
    """Returns nothing for images whose sides are multiples of 4, which need no cropping."""
    height, width, _ = m.image_shape
    return [Crop(height, width)] if height % 4 or width % 4 else []


class Halve(nn.Module):
    """Bilinear shrinking to half size, without antialiasing."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.interpolate(
            x, scale_factor=0.5, mode="bilinear", align_corners=False, antialias=False
        )


class SuperResolution(Autoencoder):
    """`superres`: encodes the image at half size."""

    def encode(self, x: Tensor) -> Tensor:
        return super().encode(Halve()(x))


def superres(m: Any) -> nn.Module:
    act = ACTIVATIONS[m.activation]
    height, width, colours = m.image_shape
    first, second = m.channels
    grid = _grid(m)
    seen = second * math.ceil(height // 2 / 2) * math.ceil(width // 2 / 2)
    up, out = m.decoder_channels
    encoder = nn.Sequential(
        nn.Conv2d(colours, first, 3, padding=1),
        act(),
        nn.Conv2d(first, second, 3, stride=2, padding=1),
        act(),
        nn.Flatten(),
        *linears((seen, m.hidden, m.latent_dim), m),
    )
    decoder = nn.Sequential(
        *linears((m.latent_dim, m.hidden, math.prod(grid)), m),
        act(),
        nn.Unflatten(1, grid),
        nn.ConvTranspose2d(second, up, 4, stride=2, padding=1),
        act(),
        nn.ConvTranspose2d(up, out, 4, stride=2, padding=1),
        act(),
        nn.Conv2d(out, colours, 3, padding=1),
        *_crop(m),
    )
    return SuperResolution(encoder, decoder, m.output)


def _convolutions(m: Any, colours: int) -> list[nn.Module]:
    act = ACTIVATIONS[m.activation]
    first, second, third = m.channels
    return [
        nn.Conv2d(colours, first, 3, stride=2, padding=1),
        nn.BatchNorm2d(first),
        act(),
        nn.Conv2d(first, second, 3, stride=2, padding=1),
        nn.BatchNorm2d(second),
        act(),
        nn.Conv2d(second, third, 3, padding=1),
        nn.BatchNorm2d(third),
        act(),
        nn.Flatten(),
    ]


def _deconvolutions(m: Any, code: int) -> list[nn.Module]:
    act = ACTIVATIONS[m.activation]
    first, second, third = m.channels
    grid = _grid(m)
    return [
        nn.Linear(code, math.prod(grid)),
        act(),
        nn.Unflatten(1, grid),
        nn.Conv2d(third, second, 3, padding=1),
        nn.BatchNorm2d(second),
        act(),
        nn.ConvTranspose2d(second, first, 4, stride=2, padding=1),
        nn.BatchNorm2d(first),
        act(),
        nn.ConvTranspose2d(first, m.image_shape[2], 4, stride=2, padding=1),
        *_crop(m),
    ]


def _grid(m: Any) -> tuple[int, int, int]:
    height, width, _ = m.image_shape
    return m.channels[-1], math.ceil(height / 4), math.ceil(width / 4)


def conv(m: Any) -> nn.Module:
    encoder = [*_convolutions(m, m.image_shape[2]), nn.Linear(math.prod(_grid(m)), m.latent_dim)]
    coded = nn.Sequential(*encoder), nn.Sequential(*_deconvolutions(m, m.latent_dim))
    return Autoencoder(*coded, m.output)


class ConvVariational(nn.Module):
    """`conv-vae`; with classes, samples are flat (H, W, C), and their one-hot class behind them."""

    def __init__(self, m: Any) -> None:
        super().__init__()
        self.image_shape, self.classes, self.output = m.image_shape, m.classes, m.output
        self.encoder = nn.Sequential(*_convolutions(m, m.image_shape[2] + m.classes))
        self.fc_mu = nn.Linear(math.prod(_grid(m)), m.latent_dim)
        self.fc_logvar = nn.Linear(math.prod(_grid(m)), m.latent_dim)
        self.decoder = nn.Sequential(*_deconvolutions(m, m.latent_dim + m.classes))

    def _seen(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the image with a plane for each class, and the class."""
        if not self.classes:
            return x, x.new_zeros(len(x), 0)
        image, y = x[:, : -self.classes], x[:, -self.classes :]
        image = image.reshape(-1, *self.image_shape).permute(0, 3, 1, 2)
        planes = y[:, :, None, None].expand(-1, -1, *image.shape[2:])
        return torch.cat([image, planes], dim=1), y

    def encode(self, x: Tensor) -> Tensor:
        mu: Tensor = self.fc_mu(self.encoder(self._seen(x)[0]))
        return mu

    def forward(self, x: Tensor, eps: Tensor | None = None) -> Result:
        seen, y = self._seen(x)
        h = self.encoder(seen)
        mu, log_var = self.fc_mu(h), self.fc_logvar(h)
        z = mu if eps is None else mu + torch.exp(log_var / 2) * eps
        decoded = self.decoder(torch.cat([z, y], dim=1))
        if not self.classes:
            return result_of(decoded, z, self.output, mu, log_var)
        decoded = decoded.permute(0, 2, 3, 1).flatten(1)
        target = x[:, : -self.classes]
        return result_of(decoded, z, self.output, mu, log_var)._replace(target=target)
