"""`msae apply`: any program, in batches, in PyTorch's layout and dtypes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from msae_jax.errors import InputError
from msae_jax.interop.applying import apply_pt2
from tests.cli.in_process import msae

torch = pytest.importorskip("torch", reason="PyTorch is not installed (the torch extra)")


class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(2, 3, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(3)

    def forward(self, x):
        h = self.norm(self.conv(x))
        return h, h.flatten(1).argmax(1)


class Centred(torch.nn.Module):
    def forward(self, x):
        return x - x.mean(0)


class Total(torch.nn.Module):
    def forward(self, x, y):
        return x + y, x.sum()


def export(path, module, *inputs, free=True):
    dims = tuple({0: torch.export.Dim("batch")} for _ in inputs) if free else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(module, inputs, dynamic_shapes=dims)
        torch.export.save(program, path)
    return path


def images(count, dtype=np.float32):
    return np.random.default_rng(0).normal(size=(count, 2, 5, 5)).astype(dtype)


def test_the_command_writes_every_output(tmp_path, capsys):
    torch.manual_seed(0)
    module = Small().eval()
    path = export(tmp_path / "m.pt2", module, torch.rand(3, 2, 5, 5))
    x = images(11)
    np.save(tmp_path / "x.npy", x)
    out = tmp_path / "y.npz"
    run = ("apply", path, "--input", tmp_path / "x.npy", "--out", out, "--batch-size", 4)
    assert msae(*run) == 0
    assert "output_1 [11] int64" in capsys.readouterr().out
    with torch.no_grad():
        wanted = module(torch.from_numpy(x))
    with np.load(out) as found:
        assert list(found) == ["output_0", "output_1"]
        assert found["output_0"].dtype == np.float32
        np.testing.assert_allclose(found["output_0"], wanted[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(found["output_1"], wanted[1])
    assert msae(*run) == 2
    assert "exists" in capsys.readouterr().err


def test_float64_is_computed_in_float64(tmp_path):
    torch.manual_seed(0)
    module = Small().double().eval()
    path = export(tmp_path / "m.pt2", module, torch.rand(3, 2, 5, 5, dtype=torch.float64))
    x = images(5, np.float64)
    with torch.no_grad():
        wanted = module(torch.from_numpy(x))[0].numpy()
    found = apply_pt2(path, [x]).outputs["output_0"]
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-13)


def test_a_training_program_is_evaluated_or_computed_as_it_is(tmp_path):
    torch.manual_seed(0)
    module = Small()
    path = export(tmp_path / "m.pt2", module, torch.rand(3, 2, 5, 5))
    x = images(6)
    done = apply_pt2(path, [x], batch_size=4)
    assert any("training mode" in note for note in done.notes)
    trained = apply_pt2(path, [x], train=True).outputs["output_0"]
    with torch.no_grad():
        np.testing.assert_allclose(
            done.outputs["output_0"], module.eval()(torch.from_numpy(x))[0], rtol=1e-5, atol=1e-5
        )
        wanted = module.train()(torch.from_numpy(x))[0]
    np.testing.assert_allclose(trained, wanted, rtol=1e-4, atol=1e-5)


def test_samples_that_are_mixed_are_not_cut_into_batches(tmp_path):
    path = export(tmp_path / "m.pt2", Centred(), torch.rand(3, 4))
    x = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    done = apply_pt2(path, [x], batch_size=4)
    np.testing.assert_allclose(done.outputs["output_0"], x - x.mean(0), rtol=1e-5, atol=1e-6)
    assert any("mixes" in note for note in done.notes)


def test_several_inputs_and_an_output_of_the_whole_batch(tmp_path):
    path = export(tmp_path / "m.pt2", Total(), torch.rand(3, 4), torch.rand(3, 4))
    x, y = np.ones((7, 4), np.float32), np.full((7, 4), 2.0)  # float64 is converted
    found = apply_pt2(path, [x, y], batch_size=2).outputs
    np.testing.assert_array_equal(found["output_0"], np.full((7, 4), 3, np.float32))
    assert found["output_1"] == 28


def test_a_fixed_batch_size_is_kept(tmp_path):
    torch.manual_seed(0)
    module = Small().eval()
    path = export(tmp_path / "m.pt2", module, torch.rand(3, 2, 5, 5), free=False)
    x = images(7)
    with torch.no_grad():
        wanted = module(torch.from_numpy(x))[0]
    found = apply_pt2(path, [x]).outputs["output_0"]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    mixing = export(tmp_path / "c.pt2", Centred(), torch.rand(3, 2, 5, 5), free=False)
    with pytest.raises(InputError, match="mixes the 3 samples"):
        apply_pt2(mixing, [x])


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones((3, 5, 5, 2), np.float32), r"shape \[3, 5, 5, 2\], expected .*, 2, 5, 5\]"),
        (np.ones((3, 2, 5), np.float32), "shape"),
        (np.ones((0, 2, 5, 5), np.float32), "shape"),
        (np.ones((3, 2, 5, 5), np.uint8), r"uint8, expected float32.*255"),
    ],
)
def test_what_does_not_fit_is_refused(x, message, tmp_path):
    path = export(tmp_path / "m.pt2", Small().eval(), torch.rand(3, 2, 5, 5))
    with pytest.raises(InputError, match=message):
        apply_pt2(path, [x])
    with pytest.raises(InputError, match="takes 1 inputs"):
        apply_pt2(path, [x, x])


def test_missing_operators_are_named_together(tmp_path):
    class Odd(torch.nn.Module):
        def forward(self, x):
            return torch.special.bessel_j1(x) + torch.special.bessel_j0(x).sum()

    path = export(tmp_path / "m.pt2", Odd(), torch.rand(3, 4, 4))
    with pytest.raises(InputError, match=r"bessel_j0.*bessel_j1") as caught:
        apply_pt2(path, [np.ones((2, 4, 4), np.float32)])
    assert "\n" not in str(caught.value)
