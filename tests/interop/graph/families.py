"""Small PyTorch modules of many families, as people write them; and their exports."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.export import Dim


class Dense(nn.Module):
    """A dense autoencoder with another activation after each layer."""

    def __init__(self):
        super().__init__()
        kinds = [nn.Tanh(), nn.GELU(), nn.GELU("tanh"), nn.LeakyReLU(0.2), nn.ELU(), nn.SELU()]
        kinds += [nn.Softplus(), nn.Hardtanh(), nn.Mish(), nn.PReLU(), nn.ReLU6(), nn.Softsign()]
        kinds += [nn.CELU(), nn.Hardswish(), nn.LogSigmoid(), nn.Tanhshrink(), nn.Threshold(0.1, 0)]
        kinds += [nn.Hardsigmoid(), nn.Softshrink(0.01), nn.Hardshrink(0.01)]
        layers = [layer for kind in kinds for layer in (nn.Linear(12, 12), kind)]
        self.encoder = nn.Sequential(*layers[:20], nn.Linear(12, 4))
        self.decoder = nn.Sequential(
            nn.Linear(4, 12), *layers[20:], nn.Linear(12, 12), nn.Sigmoid()
        )

    def forward(self, x):
        z = self.encoder(x)
        return self.decoder(z), z


class Tied(nn.Module):
    """An autoencoder whose decoder is its encoder transposed; two layers share one weight."""

    def __init__(self):
        super().__init__()
        self.down = nn.Linear(12, 6)
        self.one, self.two = nn.Linear(6, 6), nn.Linear(6, 6)
        self.two.weight = self.one.weight
        self.back = nn.Parameter(torch.zeros(12))

    def forward(self, x):
        z = torch.relu(self.down(x))
        z = F.silu(self.two(torch.relu(self.one(z))))
        return F.linear(z, self.down.weight.t(), self.back)


class ConvNorm(nn.Module):
    """A convolutional autoencoder with batch norm and ReLU in place."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU(inplace=True),
            nn.Conv2d(6, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
            nn.Flatten(), nn.Linear(32, 5), nn.BatchNorm1d(5, affine=False),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(5, 32), nn.Unflatten(1, (8, 2, 2)),
            nn.ConvTranspose2d(8, 6, 3, 2, 1, output_padding=1), nn.BatchNorm2d(6), nn.ReLU(),
            nn.ConvTranspose2d(6, 3, 4, 2, 1), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x):
        z = self.encoder(x)
        return self.decoder(z), z


class ConvVae(nn.Module):
    """A convolutional VAE with bilinear and nearest upsampling, and dropout."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding="same"), nn.LeakyReLU(), nn.MaxPool2d(2), nn.Dropout2d(0.2),
            nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0)), nn.ELU(), nn.Dropout(0.1),
        )  # fmt: skip
        self.mu, self.log_var = nn.Linear(36, 3), nn.Linear(36, 3)
        self.up = nn.Linear(3, 24)
        self.decode = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(6, 4, 3, padding=1), nn.ReLU(),
            nn.Upsample(scale_factor=2), nn.Conv2d(4, 1, 3, padding=1),
            nn.Upsample(size=(8, 8), mode="bilinear", align_corners=True),
        )  # fmt: skip

    def forward(self, x):
        h = self.features(x).flatten(1)
        mu, log_var = self.mu(h), self.log_var(h)
        z = mu + torch.exp(0.5 * log_var) * torch.randn_like(mu)
        return torch.sigmoid(self.decode(self.up(z).view(-1, 6, 2, 2))), mu, log_var


class LstmAutoencoder(nn.Module):
    """An LSTM that reads a series into its last state, and one that writes it again."""

    def __init__(self):
        super().__init__()
        self.read = nn.LSTM(3, 5, num_layers=2, batch_first=True, dropout=0.1)
        self.write = nn.LSTM(5, 4, batch_first=True, bidirectional=True)
        self.out = nn.Linear(8, 3)

    def forward(self, x):
        _, (h, _) = self.read(x)
        z = h[-1]
        steps, _ = self.write(z.unsqueeze(1).repeat(1, x.shape[1], 1))
        return self.out(steps), z


class GruVae(nn.Module):
    """A bidirectional GRU, a plain RNN and a GRU cell, time first."""

    def __init__(self):
        super().__init__()
        self.read = nn.GRU(3, 4, num_layers=2, bidirectional=True)
        self.rnn = nn.RNN(8, 6, bias=False)
        self.mu, self.log_var = nn.Linear(6, 2), nn.Linear(6, 2)
        self.cell, self.lstm_cell = nn.GRUCell(2, 6), nn.LSTMCell(2, 6)
        self.out = nn.Linear(6, 3)

    def forward(self, x):
        steps, _ = self.rnn(self.read(x.transpose(0, 1))[0])
        mu, log_var = self.mu(steps[-1]), self.log_var(steps[-1]).clamp(-4, 4)
        z = mu + torch.randn(mu.shape[0], 2, dtype=x.dtype) * log_var.mul(0.5).exp()
        h, c = torch.tanh(z).repeat(1, 3), torch.zeros(x.size(0), 6, dtype=x.dtype)
        found = []
        for _ in range(3):
            h = self.cell(z, h)
            h, c = self.lstm_cell(z, (h, c))
            found.append(self.out(h))
        return torch.stack(found, dim=1), mu, log_var


class Transformer(nn.Module):
    """PyTorch's own transformer encoder over a series, with positions and a causal mask."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(3, 8)
        self.register_buffer("positions", torch.randn(1, 6, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 16, 0.1, activation="gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        mask = nn.Transformer.generate_square_subsequent_mask(6)
        self.register_buffer("mask", mask, persistent=False)
        self.cross = nn.MultiheadAttention(8, 4, kdim=3, vdim=3, batch_first=True)
        self.out = nn.Linear(8, 3)

    def forward(self, x):
        h = self.encoder(self.embed(x) + self.positions, mask=self.mask, is_causal=False)
        h = h + self.cross(h, x, x)[0]
        return self.out(h)


class Vit(nn.Module):
    """A vision transformer with its attention written out, patches by strided convolution."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(1, 8, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.norm, self.qkv, self.proj = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.mlp = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
        self.head = nn.Linear(8, 16)

    def forward(self, x):
        b = x.shape[0]
        h = self.patch(x).flatten(2).transpose(1, 2)
        h = torch.cat([self.token.expand(b, -1, -1), h], dim=1)
        q, k, v = self.qkv(self.norm(h)).reshape(b, -1, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        weights = torch.softmax(q @ k.transpose(-2, -1) / 4**0.5, dim=-1)
        h = h + self.proj((weights @ v).transpose(1, 2).reshape(b, -1, 8))
        h = h + self.mlp(h)
        p = self.head(h[:, 1:]).view(b, 2, 2, 4, 4)
        return torch.einsum("bhwij->bhiwj", p).reshape(b, 1, 8, 8), h[:, 0]


class Block(nn.Module):
    """Two convolutions with group norm and SiLU, and a skip."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(2, outputs), nn.SiLU(),
            nn.Conv2d(outputs, outputs, 3, padding=2, dilation=2), nn.InstanceNorm2d(outputs),
        )  # fmt: skip
        self.skip = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x):
        return F.silu(self.body(x) + self.skip(x), inplace=True)


class UNet(nn.Module):
    """A U-Net with group and instance norm, pools, and skips."""

    def __init__(self):
        super().__init__()
        self.one, self.two = Block(1, 4), nn.Conv2d(4, 6, 3, padding=1)
        self.pool, self.up = nn.AvgPool2d(2), nn.ConvTranspose2d(6, 6, 2, 2)
        self.out = nn.Conv2d(10, 1, 1)

    def forward(self, x):
        a = self.one(x)
        b = self.up(self.two(self.pool(a)))
        return x + self.out(torch.cat([a, b], dim=1))


class Wave(nn.Module):
    """One-dimensional convolutions with every kind of padding and pool."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv1d(2, 6, 5, stride=2, padding=2, padding_mode="reflect")
        self.b = nn.Conv1d(6, 6, 3, padding=1, padding_mode="circular", groups=3)
        self.c = nn.Conv1d(6, 4, 3, padding=1, padding_mode="replicate")
        self.norm = nn.InstanceNorm1d(6, affine=True, track_running_stats=True)
        self.max, self.avg = nn.MaxPool1d(3, 2, 1), nn.AvgPool1d(2, ceil_mode=True)
        self.up = nn.ConvTranspose1d(4, 2, 4, stride=4, dilation=2, groups=2)

    def forward(self, x):
        h = F.elu(self.norm(self.a(x)))
        h = self.max(F.hardswish(self.b(h)))
        h = self.avg(self.c(F.pad(h, (1, 0))))
        h = self.up(F.interpolate(h, scale_factor=2, mode="linear"))
        return F.glu(
            torch.cat([h, F.adaptive_avg_pool1d(x, 27)[:, :, :27], h.flip(2)], dim=1)[:, :4], dim=1
        )


class Words(nn.Module):
    """Tokens to an embedding with a padding index, to logits of tokens."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 6, padding_idx=0)
        self.conv = nn.Conv1d(6, 6, 3, padding=1)
        self.out = nn.Linear(6, 11)

    def forward(self, x):
        h = self.embed(x)
        mask = (x != 0).unsqueeze(-1)
        h = h.masked_fill(~mask, 0.0) + self.conv(h.mT).mT
        mean = (h * mask).sum(1) / mask.sum(1).clamp(min=1)
        h = h + mean[:, None] + torch.arange(x.shape[1], device=x.device)[None, :, None] / 10
        return F.log_softmax(self.out(h), dim=-1), mean


class Residual(nn.Module):
    """A residual network with depthwise convolutions, adaptive pools and squeeze-and-excite."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 7, 2, 3, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.depth = nn.Conv2d(8, 16, 3, padding=1, groups=8)
        self.point = nn.Conv2d(16, 8, 1)
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 2, 1), nn.ReLU(), nn.Conv2d(2, 8, 1), nn.Sigmoid()
        )
        self.head = nn.Linear(8 * 4 + 8, 5)

    def forward(self, x):
        h = F.max_pool2d(F.relu6(self.norm(self.stem(x))), 3, 2, 1)
        h = h + self.point(F.hardtanh(self.depth(h)))
        h = h * self.squeeze(h)
        a, b = F.adaptive_avg_pool2d(h, (2, 2)).flatten(1), F.adaptive_max_pool2d(h, 1).flatten(1)
        return F.softmax(self.head(torch.hstack([a, b])), dim=1)


class Quantised(nn.Module):
    """A vector-quantised autoencoder: nearest codes, straight-through gradients, losses inside."""

    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Linear(10, 4), nn.Linear(4, 10)
        self.codes = nn.Embedding(7, 4)

    def forward(self, x):
        z = self.down(x)
        apart = z.pow(2).sum(1, keepdim=True) + self.codes.weight.pow(2).sum(1)
        apart = apart - 2 * torch.matmul(z, self.codes.weight.t())
        index = torch.argmin(apart, dim=1)
        q = self.codes(index)
        one_hot = torch.zeros(z.shape[0], 7, dtype=z.dtype).scatter(1, index.unsqueeze(1), 1)
        perplexity = torch.exp(-(one_hot.mean(0) * torch.log(one_hot.mean(0) + 1e-10)).sum())
        loss = F.mse_loss(q.detach(), z) + 0.25 * F.mse_loss(q, z.detach())
        q = z + (q - z).detach()
        return self.up(q), loss, perplexity, index


class Arithmetic(nn.Module):
    """Whatever else is done with numbers: statistics, comparisons, choices, powers, indices."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(8) + 0.5)
        self.gain = nn.utils.parametrizations.weight_norm(nn.Linear(8, 8))

    def forward(self, x):
        y = (x - x.mean(dim=1, keepdim=True)) / torch.sqrt(x.var(dim=1, keepdim=True) + 1e-5)
        y = y * torch.rsqrt(self.scale) + x.std(dim=1, unbiased=False, keepdim=True)
        a, b = y.chunk(2, dim=-1)
        c, d = torch.split(y, [3, 5], dim=-1)
        y = torch.cat([a.abs() ** 1.5, b.clamp(min=-0.5, max=0.7)], dim=-1) + torch.cat([d, c], -1)
        y = torch.where(y > 0.3, y, torch.sin(y) - torch.cos(y) * 0.1)
        y = torch.maximum(y, -x) / (1 + torch.exp(-x)) + torch.log1p(x * x).cumsum(dim=1)
        y = y + F.normalize(x, dim=1) + torch.linalg.vector_norm(x, dim=1, keepdim=True)
        y = self.gain(y) + x.amax(dim=1, keepdim=True) - torch.logsumexp(x, dim=1, keepdim=True)
        top, _ = torch.topk(y, 3, dim=1)
        y = y * (y >= top[:, -1:]).to(y.dtype) + F.softmin(y, dim=1).pow(2) + y.roll(1, 1)
        return y.tril()[:, [0, 2, 1, 3]], y.prod(dim=1), y.norm(), x[:, ::2].sum(-1) // 1 % 3


FAMILIES = {
    "dense": (Dense, (12,)),
    "tied": (Tied, (12,)),
    "conv-norm": (ConvNorm, (3, 8, 8)),
    "conv-vae": (ConvVae, (1, 8, 8)),
    "lstm": (LstmAutoencoder, (6, 3)),
    "gru-vae": (GruVae, (6, 3)),
    "transformer": (Transformer, (6, 3)),
    "vit": (Vit, (1, 8, 8)),
    "unet": (UNet, (1, 8, 8)),
    "wave": (Wave, (2, 16)),
    "words": (Words, (7,)),
    "residual": (Residual, (3, 20, 20)),
    "quantised": (Quantised, (10,)),
    "arithmetic": (Arithmetic, (8,)),
}


def inputs(name: str, batch: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Returns a batch of samples of a family."""
    generator = torch.Generator().manual_seed(batch)
    shape = (batch, *FAMILIES[name][1])
    if name == "words":
        return torch.randint(0, 11, shape, generator=generator)
    return torch.rand(shape, generator=generator, dtype=dtype)


def exported(
    name: str,
    *,
    train: bool = False,
    decompose: bool = True,
    dtype: torch.dtype = torch.float32,
    path: Path,
) -> nn.Module:
    """Returns a module of a family, and saves its exported program at `path`."""
    torch.manual_seed(0)
    module = FAMILIES[name][0]().to(dtype).train(train)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            module, (inputs(name, 3, dtype),), dynamic_shapes=({0: Dim.AUTO},)
        )
        if decompose:
            program = program.run_decompositions({})
        torch.export.save(program, path)
    return module
