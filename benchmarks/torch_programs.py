"""Twelve PyTorch modules of as many families, of the sizes that people train: for `programs.py`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Dense(nn.Sequential):
    """784-512-256-32 and back, with dropout."""

    shape = (784,)

    def __init__(self) -> None:
        super().__init__(
            nn.Sequential(
                nn.Linear(784, 512), nn.ReLU(), nn.Dropout(0.1), nn.Linear(512, 256), nn.ReLU(),
                nn.Linear(256, 32),
            ),
            nn.Sequential(
                nn.Linear(32, 256), nn.ReLU(), nn.Linear(256, 512), nn.ReLU(),
                nn.Linear(512, 784), nn.Sigmoid(),
            ),
        )  # fmt: skip


class Tied(nn.Module):
    """The decoder has the encoder's weights, transposed."""

    shape = (784,)

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Linear(784, 128)
        self.bias = nn.Parameter(torch.zeros(784))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(torch.tanh(self.down(x)), self.down.weight.t(), self.bias)


def _down(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class ConvNorm(nn.Module):
    """Strided convolutions with batch norm, and their transposes."""

    shape = (1, 28, 28)

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(_down(1, 16), _down(16, 32), nn.Flatten(), nn.Linear(1568, 32))
        self.decoder = nn.Sequential(
            nn.Linear(32, 1568), nn.Unflatten(1, (32, 7, 7)), nn.BatchNorm2d(32), nn.ReLU(),
            nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.ConvTranspose2d(16, 1, 4, 2, 1), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


class ConvVae(nn.Module):
    """A convolutional VAE whose decoder upsamples."""

    shape = (3, 32, 32)

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 32, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(32, 64, 4, 2, 1),
            nn.LeakyReLU(0.2), nn.Flatten(),
        )  # fmt: skip
        self.mu, self.log_var = nn.Linear(4096, 64), nn.Linear(4096, 64)
        self.up = nn.Linear(64, 4096)
        self.decoder = nn.Sequential(
            nn.Upsample(scale_factor=2), nn.Conv2d(64, 32, 3, padding=1), nn.ReLU(),
            nn.Upsample(scale_factor=2), nn.Conv2d(32, 3, 3, padding=1), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.encoder(x)
        mu, log_var = self.mu(h), self.log_var(h)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * log_var)
        return self.decoder(self.up(z).view(-1, 64, 8, 8)), mu, log_var


class Lstm(nn.Module):
    """The last state of an LSTM, unrolled by another."""

    shape = (64, 8)

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.LSTM(8, 64, batch_first=True)
        self.decoder = nn.LSTM(64, 64, batch_first=True)
        self.out = nn.Linear(64, 8)

    def forward(self, x: Tensor) -> Tensor:
        _, (h, _) = self.encoder(x)
        y, _ = self.decoder(h[-1].unsqueeze(1).expand(-1, 64, -1).contiguous())
        return self.out(y)


class GruVae(nn.Module):
    """A VAE of sequences."""

    shape = (32, 8)

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.GRU(8, 64, batch_first=True, bidirectional=True)
        self.mu, self.log_var = nn.Linear(128, 16), nn.Linear(128, 16)
        self.decoder, self.out = nn.GRU(16, 64, batch_first=True), nn.Linear(64, 8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        _, h = self.encoder(x)
        h = torch.cat([h[0], h[1]], -1)
        mu, log_var = self.mu(h), self.log_var(h)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * log_var)
        y, _ = self.decoder(z.unsqueeze(1).repeat(1, 32, 1))
        return self.out(y), mu, log_var


class Transformer(nn.Module):
    """Two encoder layers over a series, through a narrow latent per step."""

    shape = (64, 8)

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 64)
        layer = nn.TransformerEncoderLayer(64, 4, 128, 0.1, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.z, self.out = nn.Linear(64, 4), nn.Sequential(nn.Linear(4, 64), nn.GELU())
        self.head = nn.Linear(64, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.out(self.z(self.layers(self.embed(x)))))


class Vit(nn.Module):
    """Patches of an image, attended to and drawn again."""

    shape = (1, 28, 28)

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, 64, 7, 7)
        self.position = nn.Parameter(torch.randn(1, 16, 64) * 0.02)
        self.norms = nn.ModuleList(nn.LayerNorm(64) for _ in range(4))
        self.qkv = nn.ModuleList(nn.Linear(64, 192) for _ in range(2))
        self.mlp = nn.ModuleList(
            nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 64)) for _ in range(2)
        )
        self.head = nn.Linear(64, 49)

    def forward(self, x: Tensor) -> Tensor:
        y = self.patch(x).flatten(2).transpose(1, 2) + self.position
        for i in range(2):
            q, k, v = (
                part.unflatten(-1, (4, 16)).transpose(1, 2)
                for part in self.qkv[i](self.norms[2 * i](y)).chunk(3, -1)
            )
            y = y + F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
            y = y + self.mlp[i](self.norms[2 * i + 1](y))
        y = self.head(y).view(-1, 4, 4, 7, 7)
        return y.permute(0, 1, 3, 2, 4).reshape(-1, 1, 28, 28)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(4, outputs), nn.SiLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1), nn.GroupNorm(4, outputs), nn.SiLU(),
    )  # fmt: skip


class UNet(nn.Module):
    """Two scales with a skip connection."""

    shape = (1, 32, 32)

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = _block(1, 16), _block(16, 32), _block(48, 16)
        self.out = nn.Conv2d(16, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        wide = self.one(x)
        deep = F.interpolate(
            self.two(F.max_pool2d(wide, 2)), scale_factor=2, mode="bilinear", align_corners=False
        )
        return self.out(self.three(torch.cat([wide, deep], 1)))


class Wave(nn.Module):
    """Convolutions of a signal, with dilation."""

    shape = (2, 256)

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv1d(2, 16, 7, 2, 3), nn.ELU(), nn.Conv1d(16, 32, 5, 2, 4, dilation=2), nn.ELU(),
            nn.Conv1d(32, 8, 3, padding=1),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.ConvTranspose1d(8, 32, 4, 2, 1), nn.ELU(), nn.ConvTranspose1d(32, 2, 4, 2, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


class Words(nn.Module):
    """Symbols, embedded, summed up in a latent, and their logits at each place."""

    shape = (24,)
    dtype = "int64"

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(200, 32)
        self.z, self.up = nn.Linear(24 * 32, 24), nn.Linear(24, 24 * 32)
        self.out = nn.Linear(32, 200)

    def forward(self, x: Tensor) -> Tensor:
        h = self.up(F.gelu(self.z(self.embed(x).flatten(1))))
        return self.out(F.gelu(h).view(-1, 24, 32))


class Residual(nn.Module):
    """Residual blocks with depthwise convolutions and squeeze and excitation."""

    shape = (3, 32, 32)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 5, 2, 2, bias=False)
        self.norm = nn.BatchNorm2d(32)
        self.depth = nn.Conv2d(32, 64, 3, padding=1, groups=32)
        self.point = nn.Conv2d(64, 32, 1)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(32, 8, 1), nn.ReLU(), nn.Conv2d(8, 32, 1),
            nn.Sigmoid(),
        )  # fmt: skip
        self.z, self.up = nn.Conv2d(32, 8, 3, 2, 1), nn.ConvTranspose2d(8, 32, 4, 2, 1)
        self.out = nn.ConvTranspose2d(32, 3, 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.norm(self.stem(x)))
        y = self.point(F.hardswish(self.depth(h)))
        h = h + y * self.gate(y)
        return torch.sigmoid(self.out(F.relu(self.up(self.z(h)))))


MODULES = (
    Dense, Tied, ConvNorm, ConvVae, Lstm, GruVae, Transformer, Vit, UNet, Wave, Words, Residual,
)  # fmt: skip
