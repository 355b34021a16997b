"""Which value of a program is the reconstruction, the latent, the posterior; how samples lie."""

from __future__ import annotations

import functools
import itertools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msae_jax.errors import InputError
from msae_jax.interop import load_pt2
from msae_jax.interop.autoencoder import Autoencoder
from msae_jax.interop.programs import remarks

torch = pytest.importorskip("torch", reason="PyTorch is not installed (the torch extra)")

pytestmark = pytest.mark.usefixtures("all_quick_to_compile")
nn = torch.nn


class Parts(nn.Module):
    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x):
        return self.decoder(self.encoder(x))


class Vae(nn.Module):
    def __init__(self, half):
        super().__init__()
        self.inner, self.outer, self.half = nn.Linear(8, 4), nn.Linear(2, 8), half

    def forward(self, x):
        mu, log_var = self.inner(x).chunk(2, dim=1)
        eps = torch.randn_like(mu)
        return self.outer(self.half(log_var).exp() * eps + mu)


class Skip(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Linear(8, 2), nn.Linear(2, 8)

    def forward(self, x):
        return self.up(self.down(x)) + x


class Pair(nn.Module):
    """Two outputs as wide as the input: none is certainly the reconstruction."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        return self.one(x), self.two(x)


class Convolved(nn.Module):
    def __init__(self, channels, size):
        super().__init__()
        self.down = nn.Conv2d(channels, 2, 3, 2, 1)
        self.flat, self.up = nn.Flatten(), nn.Linear(2 * (size // 2) ** 2, channels * size * size)
        self.shape = (channels, size, size)

    def forward(self, x):
        y = self.up(self.flat(torch.relu(self.down(x))))
        return y.view(x.size(0), *self.shape)


def opened(tmp_path, module, *shape, **roles):
    path = tmp_path / "m.pt2"
    torch.manual_seed(0)
    x = torch.rand(3, *shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        free = ({0: torch.export.Dim.AUTO},)
        program = torch.export.export(module.eval(), (x,), dynamic_shapes=free)
        torch.export.save(program.run_decompositions({}), path)
    return load_pt2(path, **roles)


def run(found, *given, method=None, **more):
    """Applies a program as one compiled program."""
    return jax.jit(functools.partial(found.module.apply, method=method))(
        found.variables, *given, **more
    )


def layers(*sizes):
    return [layer for a, b in itertools.pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]


@pytest.mark.parametrize(
    ("module", "latent", "width"),
    [
        (Parts(nn.Linear(8, 2), nn.Linear(2, 8)), True, 2),
        (Parts(nn.Sequential(*layers(8, 6, 2)), nn.Sequential(*layers(2, 6, 8))), True, 2),
        (
            Parts(
                nn.Linear(8, 2),
                nn.Sequential(nn.Unflatten(1, (2, 1)), nn.Flatten(), nn.Linear(2, 8)),
            ),
            True,
            2,
        ),
        (Parts(nn.Linear(8, 2), nn.Sequential(nn.ReLU(), nn.Linear(2, 8))), True, 2),
        (nn.Sequential(nn.Linear(8, 2), nn.Linear(2, 8)), True, 2),
        (nn.Sequential(*layers(8, 2, 8)), True, 2),
        (nn.Sequential(nn.Linear(8, 12), nn.Linear(12, 8)), False, None),
        (Skip(), False, None),
    ],
)
def test_the_latent_is_where_everything_passes(module, latent, width, tmp_path):
    found = opened(tmp_path, module, 8)
    x = jnp.asarray(np.random.default_rng(0).random((4, 8)), jnp.float32)
    assert found.module.is_cut() == latent
    if not latent:
        with pytest.raises(InputError, match="certainly the latent"):
            found.module.apply(found.variables, jnp.ones((4, 2)), method="decode")
        return
    z = run(found, x, method="encode")
    assert z.shape == (4, width)
    recon = run(found, x).recon
    again = run(found, z, method="decode")
    np.testing.assert_allclose(again, recon, rtol=1e-6, atol=1e-7)


def test_an_activation_belongs_to_the_module_that_it_stands_in(tmp_path):
    inside = Parts(nn.Sequential(nn.Linear(8, 2), nn.ReLU()), nn.Linear(2, 8))
    assert opened(tmp_path, inside, 8).module.values()["z"] == "relu"
    outside = Parts(nn.Linear(8, 2), nn.Sequential(nn.ReLU(), nn.Linear(2, 8)))
    assert opened(tmp_path, outside, 8).module.values()["z"] == "linear"


@pytest.mark.parametrize("half", [lambda v: 0.5 * v, lambda v: v / 2, lambda v: v * 0.5])
def test_the_posterior_is_read_off_the_sum(half, tmp_path):
    found = opened(tmp_path, Vae(half), 8)
    x = jnp.asarray(np.random.default_rng(0).random((4, 8)), jnp.float32)
    out = run(found, x)
    h = np.asarray(x) @ found.variables["params"]["inner"]["weight"].T
    h = h + found.variables["params"]["inner"]["bias"]
    np.testing.assert_allclose(out.mu, h[:, :2], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(out.log_var, h[:, 2:], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(out.z, out.mu)  # without a key, at the mean
    drawn = run(found, x, key=jax.random.key(0))
    assert not np.allclose(drawn.z, out.mu)


class Drawn(nn.Module):
    """Returns its input beside the rest, as many do; draws as `draw` says."""

    def __init__(self, draw):
        super().__init__()
        self.inner, self.outer, self.draw = nn.Linear(8, 4), nn.Linear(2, 8), draw

    def forward(self, x):
        mu, log_var = self.inner(x).chunk(2, dim=1)
        return self.outer(self.draw(mu, log_var)), x, mu, log_var


def by_distribution(mu, log_var):
    return torch.distributions.Normal(mu, (log_var / 2).exp(), validate_args=False).rsample()


def by_root(mu, log_var):
    return mu + torch.empty_like(mu).normal_() * log_var.exp().sqrt()


def narrowly(mu, log_var):
    return mu + torch.empty_like(mu).normal_(0, 0.1) * (0.5 * log_var).exp()


def upside_down(mu, log_var):
    return mu + torch.randn_like(mu) * (2 / log_var).exp()


@pytest.mark.parametrize(
    ("draw", "certain"),
    [(by_distribution, True), (by_root, True), (narrowly, False), (upside_down, False)],
)
def test_the_posterior_of_other_ways_to_draw(draw, certain, tmp_path):
    found = opened(tmp_path, Drawn(draw), 8)
    values = found.module.values()
    outputs = found.module.computation.graph.output_names
    assert values["recon"] == outputs[0]  # and not the input, which is an output, too
    assert {"mu", "log_var"} <= set(values) if certain else not {"mu", "log_var"} & set(values)
    x = jnp.asarray(np.random.default_rng(0).random((4, 8)), jnp.float32)
    out = run(found, x)
    if certain:
        inner = found.variables["params"]["inner"]
        h = np.asarray(x) @ inner["weight"].T + inner["bias"]
        np.testing.assert_allclose(out.mu, h[:, :2], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(out.log_var, h[:, 2:], rtol=1e-5, atol=1e-6)


def test_a_posterior_of_which_one_part_is_named_is_whole(tmp_path):
    values = opened(tmp_path, Drawn(by_root), 8).module.values()
    assert opened(tmp_path, Drawn(by_root), 8, mu=2).module.values() == values
    other = opened(tmp_path, Drawn(by_root), 8, mu=3).module.values()  # the log variance
    assert other["mu"] == values["log_var"]
    assert "log_var" not in other


def test_an_own_loss_of_a_module_is_said_to_be_left_out(tmp_path):
    class Lossy(Parts):
        def forward(self, x):
            z = self.encoder(x)
            return self.decoder(z), z.square().mean(), z.argmax(dim=1).sum()

    lossy = opened(tmp_path, Lossy(nn.Linear(8, 2), nn.Linear(2, 8)), 8).module
    assert [s for s in remarks(lossy) if s.startswith("output 1 of the training graph: one number")]
    plain = opened(tmp_path, Parts(nn.Linear(8, 2), nn.Linear(2, 8)), 8).module
    assert not [sentence for sentence in remarks(plain) if "one number" in sentence]


def test_the_latent_that_is_returned_is_the_one(tmp_path):
    class Returned(Parts):
        def forward(self, x):
            z = torch.tanh(self.encoder(x))
            return self.decoder(torch.relu(z)), z

    module = opened(tmp_path, Returned(nn.Linear(8, 2), nn.Linear(2, 8)), 8).module
    assert module.values()["z"] == "tanh"


def test_another_factor_is_no_posterior(tmp_path):
    assert "mu" not in opened(tmp_path, Vae(lambda v: v * 0.7), 8).module.values()


def test_without_a_certain_reconstruction_a_program_returns_its_outputs(tmp_path):
    found = opened(tmp_path, Pair(), 8)
    x = jnp.ones((2, 8))
    assert not isinstance(found.module, Autoencoder)
    assert len(run(found, x)) == 2
    named = load_pt2(tmp_path / "m.pt2", recon="two")
    np.testing.assert_array_equal(run(named, x).recon, run(found, x)[1])
    logits = load_pt2(tmp_path / "m.pt2", logits=0)
    out = run(logits, x)
    np.testing.assert_allclose(out.recon, jax.nn.sigmoid(out.logits))
    with pytest.raises(InputError, match="unknown role"):
        load_pt2(tmp_path / "m.pt2", latent=0)


def test_images_lie_as_they_do_here_or_in_pytorch(tmp_path):
    found = opened(tmp_path, Convolved(3, 6), 3, 6, 6)
    last = np.random.default_rng(0).random((4, 6, 6, 3), np.float32)
    first = np.moveaxis(last, -1, 1)
    a = run(found, jnp.asarray(first)).recon
    b = run(found, jnp.asarray(last)).recon
    assert (a.shape, b.shape) == (first.shape, last.shape)
    np.testing.assert_array_equal(np.moveaxis(np.asarray(b), -1, 1), a)
    grey = opened(tmp_path, Convolved(1, 6), 1, 6, 6)
    plain = jnp.asarray(last[..., 0])
    c = run(grey, plain).recon
    d = run(grey, plain[..., None]).recon
    assert c.shape == plain.shape
    np.testing.assert_array_equal(c, d[..., 0])


def test_flat_programs_read_images_channels_first(tmp_path):
    found = opened(tmp_path, Parts(nn.Linear(108, 2), nn.Linear(2, 108)), 108)
    last = np.random.default_rng(0).random((4, 6, 6, 3), np.float32)
    flat = np.moveaxis(last, -1, 1).reshape(4, -1)
    a = run(found, jnp.asarray(flat)).recon
    b = run(found, jnp.asarray(last)).recon
    assert b.shape == last.shape
    np.testing.assert_array_equal(np.moveaxis(np.asarray(b), -1, 1).reshape(4, -1), a)


def test_series_of_channels(tmp_path):
    class Series(nn.Module):
        def __init__(self):
            super().__init__()
            self.down, self.up = nn.Conv1d(2, 1, 3, 1, 1), nn.Conv1d(1, 2, 3, 1, 1)

        def forward(self, x):
            return self.up(self.down(x))

    found = opened(tmp_path, Series(), 2, 9)
    x = np.random.default_rng(0).random((4, 9, 2), np.float32)
    ours = run(found, jnp.asarray(x)).recon
    theirs = run(found, jnp.asarray(np.moveaxis(x, -1, 1))).recon
    np.testing.assert_array_equal(np.moveaxis(np.asarray(ours), -1, 1), theirs)
