"""Certificates of programs: that agreement is found, and that what is broken is named."""

from __future__ import annotations

import base64
import json
import shutil
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from msae_jax import bench
from msae_jax.errors import InputError
from msae_jax.interop import export_torch as e
from msae_jax.interop import load_pt2, read_pth
from msae_jax.interop.graph import table
from msae_jax.interop.verification.verify import verify
from tests.cli.in_process import msae

torch = pytest.importorskip("torch", reason="PyTorch is not installed (the torch extra)")

from tests.interop.graph import families  # noqa: E402

pytestmark = pytest.mark.usefixtures("all_quick_to_compile")

CODE = '''
import torch
from torch import nn

class Vae(nn.Module):
    """Samples in training alone; one unit of the first layer is always on."""

    def __init__(self, hidden=6):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Flatten(), nn.Linear(12, hidden), nn.ReLU(), nn.BatchNorm1d(hidden), nn.Dropout(0.2)
        )
        self.mu, self.log_var = nn.Linear(hidden, 2), nn.Linear(hidden, 2)
        self.decoder = nn.Sequential(nn.Linear(2, 12), nn.Sigmoid())
        with torch.no_grad():
            self.encoder[1].bias[0] += 5

    def forward(self, x):
        h = self.encoder(x)
        mu, log_var = self.mu(h), self.log_var(h)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * log_var) if self.training else mu
        return self.decoder(z).view(-1, 1, 3, 4), mu, log_var

class Skip(nn.Module):
    """No one value is the latent."""

    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Linear(4, 2), nn.Linear(2, 4)

    def encode(self, x):
        return torch.tanh(self.down(x)), x.mean(1, keepdim=True)

    def decode(self, z, mean):
        return self.up(z) + mean

    def forward(self, x):
        return self.decode(*self.encode(x))
'''


@pytest.fixture(scope="module")
def code(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("code") / "theirs.py"
    path.write_text(CODE)
    return path


@pytest.fixture(scope="module")
def vae(code) -> Path:
    out = code.parent / "vae.pt2"
    run = ("export-torch", f"{code}:Vae", "--input-shape", "1,3,4", "--out", out)
    assert msae(*run) == 0
    return out


@pytest.fixture(scope="module")
def skip(code) -> e.Written:
    return e.export_torch(f"{code}:Skip", code.parent / "skip.pt2", [(4,)])


def test_both_graphs_are_verified(vae, tmp_path, capsys):
    assert msae("verify", vae, "--json", tmp_path / "c.json") == 0
    printed = capsys.readouterr().out
    assert "verified against: the graph of vae.pt2" in printed
    assert "mu is output 1, log_var is output 2" in printed
    found = json.loads((tmp_path / "c.json").read_text())
    assert found["passed"]
    assert found["facts"]["recorded outputs"]["holds"]
    names = {check["part"]: check["name"] for check in found["checks"]}
    assert "batch statistics after 10 steps" in names
    layers = [c["name"] for c in found["checks"] if c["part"] == "layers, training"]
    assert any(name.startswith("encoder.4: ") for name in layers)  # dropout, the same mask
    assert any("randn_like" in name for name in layers)


def test_the_first_node_that_diverges_is_named(vae, tmp_path, monkeypatch):
    path = shutil.copy(vae, tmp_path / "copy.pt2")  # what is open already keeps its operators
    right = table.OPERATORS["aten.relu.default"]
    monkeypatch.setitem(table.OPERATORS, "aten.relu.default", lambda self: right(self) * 1.001)
    certificate = verify(path)
    assert not certificate.passed
    assert certificate.first_divergence == "encoder.2: relu (layers, evaluation)"
    assert not certificate.facts["recorded outputs"][0]


def test_samples_of_a_data_set(vae, tmp_path):
    x = np.random.default_rng(0).random((160, 3, 4, 1), np.float32)
    np.save(tmp_path / "x.npy", x)
    certificate = verify(vae, data_name=str(tmp_path / "x.npy"))
    assert certificate.passed
    assert certificate.conditions["data"].startswith(str(tmp_path / "x.npy"))


def test_sample_inputs_are_never_unpickled(vae, tmp_path):
    """PyTorch would fall back to running what a pickle of sample inputs says."""
    path = tmp_path / "evil.pt2"
    with zipfile.ZipFile(vae) as source, zipfile.ZipFile(path, "w") as target:
        for info in source.infolist():
            data = source.read(info)
            if "sample_inputs" in info.filename:
                sentinel = str(tmp_path / "ran").encode()
                data = b"cbuiltins\nopen\n(X" + len(sentinel).to_bytes(4, "little") + sentinel
                data += b"X\x01\x00\x00\x00wtR."
            target.writestr(zipfile.ZipInfo(info.filename), data)
    assert verify(path).passed
    assert not (tmp_path / "ran").exists()


def test_a_recorded_output_that_is_another_is_found(vae, tmp_path):
    path = tmp_path / "changed.pt2"
    with zipfile.ZipFile(vae) as source, zipfile.ZipFile(path, "w") as target:
        for info in source.infolist():
            data = source.read(info)
            if "extra/" in info.filename:
                raw = bytearray(base64.b64decode(data))
                raw[-3] ^= 64
                data = base64.b64encode(raw)
            target.writestr(zipfile.ZipInfo(info.filename), data)
    certificate = verify(path)
    assert not certificate.facts["recorded outputs"][0]
    assert all(check.passed for check in certificate.checks)


def test_weights_go_through_code_program_and_back(code, vae, tmp_path):
    module = e._module(f"{code}:Vae", {"hidden": 5})
    torch.save(module.state_dict(), tmp_path / "w.pth")
    out = tmp_path / "m.pt2"
    run = ("--input-shape", "1,3,4", "--arg", "hidden=5", "--weights", tmp_path / "w.pth")
    assert msae("export-torch", f"{code}:Vae", *run, "--out", out) == 0
    assert msae("convert", out, tmp_path / "back.pth") == 0
    back = read_pth(tmp_path / "back.pth")
    assert list(back) == list(module.state_dict())
    for name, tensor in module.state_dict().items():
        np.testing.assert_array_equal(back[name], tensor.numpy())
        assert str(back[name].dtype) == str(tensor.dtype).removeprefix("torch.")


def test_what_cannot_be_cut_is_exported_apart(skip):
    assert [path.name for path in skip.files] == [
        "skip.pt2", "skip-encode.pt2", "skip-decode.pt2",
    ]  # fmt: skip
    x = np.random.default_rng(0).random((5, 4), np.float32)
    whole, encode, decode = (load_pt2(path) for path in skip.files)
    parts = encode.module.apply(encode.variables, x)
    apart = decode.module.apply(decode.variables, *parts)[0]
    np.testing.assert_allclose(apart, whole.module.apply(whole.variables, x).recon, rtol=1e-6)


@pytest.mark.parametrize(
    ("target", "more", "message"),
    [
        ("{code}:Nothing", (), "has no attribute 'Nothing'"),
        ("{code}", (), "expected file.py:Class"),
        ("{code}:Vae", ("--arg", "width=3"), "unexpected keyword"),
        ("{code}:Vae", ("--input-shape", "0,2"), "numbers from 1"),
        ("{code}:Vae", ("--input-dtype", "float3"), "expected float32, float64 or integers"),
        ("{code}:torch", (), "cannot be made"),
    ],
)
def test_what_cannot_be_exported_is_one_line(target, more, message, code, tmp_path, capsys):
    shape = () if "--input-shape" in more else ("--input-shape", "1,3,4")
    run = ("export-torch", target.format(code=code), *shape, *more, "--out", tmp_path / "m.pt2")
    assert msae(*run) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert error.count("\n") == 0
    assert not list(tmp_path.iterdir())


class Drawing(torch.nn.Module):
    """Draws slopes; none of its parameters is trained."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 4).requires_grad_(False)

    def forward(self, x):
        return torch.nn.functional.rrelu(self.layer(x), training=True)


def exported(path, module):
    free = ({0: torch.export.Dim.AUTO},)
    program = torch.export.export(module, (torch.rand(3, 4),), dynamic_shapes=free)
    torch.export.save(program, path)
    return path


def test_slopes_that_are_drawn_and_frozen_parameters_are_verified(tmp_path):
    found = verify(exported(tmp_path / "m.pt2", Drawing()))
    assert found.passed
    assert "not trained, as requires_grad=False has it" in str(found.conditions)
    assert {"layer.weight", "layer.bias"} <= {check.name for check in found.checks}


def test_a_program_without_parameters_is_refused_in_words(tmp_path):
    path = exported(tmp_path / "m.pt2", torch.nn.ReLU())
    with pytest.raises(InputError, match="no parameters to verify"):
        verify(path)


def test_half_precision_is_refused_in_words(tmp_path):
    path = tmp_path / "half.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(torch.nn.Linear(3, 3).half(), (torch.rand(2, 3).half(),))
        torch.export.save(program, path)
    with pytest.raises(InputError, match="computes in float16; verified are float32 and float64"):
        verify(path)


def test_inspect_says_what_is_in_a_program(vae, capsys):
    assert msae("inspect", vae, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["program"]["training graph"]
    assert found["program"]["inputs"] == [
        {"name": "x", "shape": ["any", 1, 3, 4], "dtype": "float32"}
    ]
    assert msae("inspect", vae) == 0
    assert "can be cut at its latent" in capsys.readouterr().out


def test_bench_times_a_program_beside_its_own_graph(skip, tmp_path, capsys, monkeypatch):
    """Of a program that draws nothing, so that both sides have the same losses."""
    monkeypatch.setattr(bench, "peaks", lambda: bench.Peaks(100.0, {2**20: 10.0}))
    out, program = tmp_path / "b.json", skip.files[0]
    assert msae("bench", program, "--steps", 3, "--repeats", 1, "--no-compiled", "--out", out) == 0
    forward, train = json.loads(out.read_text())["results"]
    assert (forward["task"], train["task"]) == ("forward", "train")
    for result in (forward, train):
        assert set(result["seconds"]) == {"ours", "eager"}
        assert result["apart"]["eager"] <= result["tolerance"]
    assert "skip.pt2, train" in capsys.readouterr().out
    assert msae("bench", program, "--task", "inference") == 2
    assert msae("bench", "baseline", "--batch-size", 4) == 2
    assert "--batch-size is for .pt2 files" in capsys.readouterr().err


def test_always_on_dropout_is_not_recorded(tmp_path):
    path = tmp_path / "always.py"
    path.write_text(
        "import torch\n"
        "class Always(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.layer = torch.nn.Linear(4, 4)\n"
        "    def forward(self, x):\n"
        "        return self.layer(torch.nn.functional.dropout(x, 0.5, training=True))\n"
    )
    e.export_torch(f"{path}:Always", tmp_path / "m.pt2", [(4,)])
    certificate = verify(tmp_path / "m.pt2")
    assert "recorded outputs" not in certificate.facts


def test_dropout_of_zeros_has_the_mask_that_was_drawn(tmp_path):
    """The output of dropout is 0 there either way; the gradient of the bias tells them apart."""
    path = tmp_path / "off.py"
    path.write_text(
        "import torch\n"
        "class Off(torch.nn.Module):\n"
        "    def __init__(self, rate=0.5):\n"
        "        super().__init__()\n"
        "        self.first, self.second = torch.nn.Linear(4, 8), torch.nn.Linear(8, 4)\n"
        "        self.dropout = torch.nn.Dropout(rate)\n"
        "        with torch.no_grad():\n"
        "            self.first.weight.zero_(), self.first.bias.zero_()\n"
        "    def forward(self, x):\n"
        "        return self.second(self.dropout(self.first(x)))\n"
    )
    e.export_torch(f"{path}:Off", tmp_path / "half.pt2", [(4,)])
    assert verify(tmp_path / "half.pt2").passed
    for rate in (0.0, 1.0):
        e.export_torch(f"{path}:Off", tmp_path / f"{rate}.pt2", [(4,)], arguments={"rate": rate})
        assert verify(tmp_path / f"{rate}.pt2").passed


def test_options_that_no_program_has_are_refused(vae, capsys):
    assert msae("verify", vae, "--set", "reocn=0") == 2
    assert "Did you mean 'recon'" in capsys.readouterr().err
    assert msae("verify", vae, "--model", "baseline-mlp") == 2
    assert "holds its own model" in capsys.readouterr().err
    assert msae("verify", vae, "--key", "model") == 2
    assert "has no --key" in capsys.readouterr().err


def test_constants_of_both_graphs_are_their_own(tmp_path):
    path = tmp_path / "noisy.py"
    path.write_text(
        "import torch\n"
        "class Shifted(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.layer = torch.nn.Linear(4, 4)\n"
        "    def forward(self, x):\n"
        "        x = x + torch.tensor(0.5) if self.training else x\n"
        "        return self.layer(x) * torch.tensor(2.0)\n"
    )
    e.export_torch(f"{path}:Shifted", tmp_path / "m.pt2", [(4,)])
    opened = load_pt2(tmp_path / "m.pt2")
    x = np.ones((2, 4), np.float32)
    w, b = (opened.variables["params"]["layer"][name] for name in ("weight", "bias"))
    for train, shift in ((False, 0), (True, 0.5)):
        found = opened.module.apply(opened.variables, x, train=train).recon
        np.testing.assert_allclose(found, 2 * ((x + shift) @ w.T + b), rtol=1e-5)


def test_programs_of_two_inputs_are_converted_and_verified(tmp_path):
    path = tmp_path / "two.py"
    path.write_text(
        "import torch\n"
        "class Two(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.layer = torch.nn.Linear(4, 3)\n"
        "    def forward(self, x, y):\n"
        "        return self.layer(x) * y\n"
    )
    e.export_torch(f"{path}:Two", tmp_path / "m.pt2", [(4,), (3,)])
    assert msae("convert", tmp_path / "m.pt2", tmp_path / "m.safetensors") == 0
    certificate = verify(tmp_path / "m.pt2")
    assert certificate.passed
    assert certificate.conditions["loss"] == "the mean square of each output"


@pytest.mark.slow
@pytest.mark.parametrize("train", [False, True])
def test_assertions_and_large_outputs_are_no_obstacle(tmp_path: Path, train: bool) -> None:
    families.exported("arithmetic", path=tmp_path / "m.pt2", train=train)
    certificate = verify(tmp_path / "m.pt2")
    assert certificate.passed, str(certificate)


def test_a_graph_of_training_that_cannot_be_exported_is_not_called_the_same(tmp_path):
    path = tmp_path / "average.py"
    path.write_text(
        "import torch\n"
        "def average():\n"  # which counts its batches with .item()
        "    return torch.nn.Sequential(torch.nn.BatchNorm1d(4, momentum=None))\n"
    )
    done = e.export_torch(f"{path}:average", tmp_path / "m.pt2", [(4,)])
    assert "cannot export the module in training mode" in done.notes[0]
    assert done.notes[1].endswith("m.pt2 has the graph of evaluation alone")


def test_a_program_does_not_name_the_machine_that_wrote_it(tmp_path):
    path = tmp_path / "one.py"
    path.write_text("import torch\ndef one():\n    return torch.nn.Linear(4, 4)\n")
    e.export_torch(f"{path}:one", tmp_path / "m.pt2", [(4,)])
    with zipfile.ZipFile(tmp_path / "m.pt2") as archive:
        assert {name.partition("/")[0] for name in archive.namelist()} == {"archive"}
    assert torch.export.load(tmp_path / "m.pt2").module()(torch.ones(2, 4)).shape == (2, 4)
