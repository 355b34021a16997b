"""Files that PyTorch itself wrote, and what PyTorch makes of ours. Needs the `torch` extra."""

from __future__ import annotations

import os
import random
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from msae_jax.errors import InputError
from msae_jax.interop import read_pth, read_safetensors, write_pth, write_safetensors

torch = pytest.importorskip("torch", reason="PyTorch is not installed (the torch extra)")
nn = torch.nn

REPOSITORY = Path(__file__).parents[2]
REFERENCE = Path(
    os.environ.get("MSAE_REFERENCE_DIR", REPOSITORY.parent / "shared" / "reference" / "msae")
)


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.ConvTranspose2d(4, 2, 4, 2, 1),
        nn.Flatten(),
        nn.Linear(8, 3),
    )


def trained() -> tuple[nn.Module, torch.optim.Optimizer]:
    net = model()
    optimizer = torch.optim.Adam(net.parameters())
    net[1](net[0](torch.randn(2, 1, 8, 8))).square().sum().backward()
    optimizer.step()
    return net, optimizer


def assert_same(got: dict[str, np.ndarray], tensors: dict[str, torch.Tensor]) -> None:
    """The same keys in the same order, dtypes, shapes and bits."""
    assert list(got) == list(tensors)
    for key, tensor in tensors.items():
        assert str(got[key].dtype) == str(tensor.dtype).removeprefix("torch."), key
        assert got[key].shape == tuple(tensor.shape), key
        if tensor.numel():
            raw = tensor.detach().resolve_conj().contiguous().flatten().view(torch.uint8)
            assert got[key].tobytes() == bytes(raw.tolist()), key


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_state_dict(tmp_path, protocol):
    tensors = trained()[0].state_dict()
    torch.save(tensors, tmp_path / "a.pth", pickle_protocol=protocol)
    assert_same(read_pth(tmp_path / "a.pth"), tensors)


def test_dtypes_and_views(tmp_path):
    base = torch.randn(6, 5)
    tensors = {
        f"cast.{dtype}": (base * 3).to(dtype)
        for dtype in (
            torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64,
            torch.complex128, torch.int64, torch.int32, torch.int16, torch.int8, torch.bool,
        )
    } | {
        "uint8": torch.arange(250, 256, dtype=torch.uint8),
        "uint16": torch.arange(3).to(torch.uint16),
        "uint32": torch.arange(3).to(torch.uint32),
        "uint64": torch.arange(3).to(torch.uint64),
        "float8_e4m3fn": base.to(torch.float8_e4m3fn),
        "float8_e5m2": base.to(torch.float8_e5m2),
        "base": base,
        "tied": base,
        "transposed": base.T,
        "strided": base[1::2, ::3],
        "expanded": base[:, :1].expand(6, 4),
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "scalar": torch.tensor(3.5),
        "counter": torch.tensor(7),
        "empty": torch.empty(0, 3),
        "parameter": nn.Parameter(torch.randn(3)),
        "nan": torch.tensor([float("nan"), -0.0, float("inf")]),
    }  # fmt: skip
    torch.save(tensors, tmp_path / "a.pth")
    assert_same(read_pth(tmp_path / "a.pth"), tensors)


def test_lazily_conjugated_tensors_are_refused(tmp_path):
    torch.save({"w": torch.ones(2, dtype=torch.complex64).conj()}, tmp_path / "a.pth")
    with pytest.raises(InputError, match="conjugated"):
        read_pth(tmp_path / "a.pth")


@pytest.mark.parametrize("name", ["state_dict", "model_state_dict", "model"])
def test_training_checkpoints(tmp_path, name):
    net, optimizer = trained()
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5])
    checkpoint = {
        "epoch": 3,
        "best_loss": torch.tensor(0.25),
        name: net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": schedule.state_dict(),
        "rng": torch.get_rng_state(),
    }
    torch.save(checkpoint, tmp_path / "a.pth")
    assert_same(read_pth(tmp_path / "a.pth"), net.state_dict())


def test_lightning_checkpoints(tmp_path):
    net, optimizer = trained()
    checkpoint = {
        "epoch": 4,
        "global_step": 1_000,
        "pytorch-lightning_version": "2.5.1",
        "state_dict": OrderedDict((f"model.{key}", t) for key, t in net.state_dict().items()),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 5}}}},
        "callbacks": {
            "ModelCheckpoint{'monitor': 'val_loss'}": {
                "best_model_score": torch.tensor(0.1),
                "best_k_models": {"a.ckpt": torch.tensor(0.1)},
                "dirpath": "/runs",
            }
        },
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {
            "lr": 1e-3,
            "layers": [64, 32],
            "betas": (0.9, 0.999),
            "x": {"y": None},
        },
    }
    torch.save(checkpoint, tmp_path / "a.ckpt")
    assert_same(read_pth(tmp_path / "a.ckpt"), net.state_dict())


def test_data_parallel_and_compiled_models(tmp_path):
    net = model()
    torch.save(nn.DataParallel(net).state_dict(), tmp_path / "parallel.pth")
    assert_same(read_pth(tmp_path / "parallel.pth"), net.state_dict())
    compiled = torch.compile(net).state_dict()
    assert all(key.startswith("_orig_mod.") for key in compiled)
    torch.save(compiled, tmp_path / "compiled.pth")
    assert_same(read_pth(tmp_path / "compiled.pth"), net.state_dict())


def test_what_is_not_a_state_dict_says_how_to_save_again(tmp_path):
    advice = r"torch\.save\(model\.state_dict\(\), 'weights\.pth'\)"
    path = tmp_path / "a.pth"
    torch.save(model(), path)
    with pytest.raises(InputError, match=r"torch\.nn\.modules\.container\.Sequential.*" + advice):
        read_pth(path)
    torch.save({"model": model(), "epoch": 3}, path)
    with pytest.raises(InputError, match=advice):
        read_pth(path)
    torch.save(model(), path, _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match=advice):
        read_pth(path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_torchscript_is_refused(tmp_path):
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "a.pt")
    with pytest.raises(InputError, match="TorchScript"):
        read_pth(tmp_path / "a.pt")


def test_written_files_load_in_torch(tmp_path):
    net = trained()[0]
    tensors = net.state_dict()
    arrays = {key: tensor.numpy() for key, tensor in tensors.items()}
    arrays["0.weight"] = np.asfortranarray(arrays["0.weight"])
    write_pth(tmp_path / "a.pth", arrays)
    for options in ({}, {"mmap": True}):
        loaded = torch.load(tmp_path / "a.pth", weights_only=True, **options)
        assert type(loaded) is OrderedDict
        assert list(loaded) == list(tensors)
        for key, tensor in tensors.items():
            assert loaded[key].dtype == tensor.dtype
            assert loaded[key].stride() == tensor.stride()
            assert torch.equal(loaded[key], tensor)
        other = model()
        nn.init.zeros_(other[0].weight)
        assert not other.load_state_dict(loaded, strict=True).missing_keys
        assert torch.equal(other[0].weight, net[0].weight)
    torch.save(loaded, tmp_path / "b.pth")
    assert_same(read_pth(tmp_path / "b.pth"), tensors)


def test_every_dtype_goes_to_torch_and_back(tmp_path):
    tensors = {
        str(dtype): (torch.randn(3, 2) * 2).to(dtype)
        for dtype in (
            torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64,
            torch.complex128, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8,
            torch.bool,
        )
    } | {"empty": torch.empty(3, 0), "scalar": torch.tensor(2.0)}  # fmt: skip
    torch.save(tensors, tmp_path / "a.pth")
    write_pth(tmp_path / "b.pth", read_pth(tmp_path / "a.pth"))
    loaded = torch.load(tmp_path / "b.pth", weights_only=True)
    for key, tensor in tensors.items():
        assert loaded[key].dtype == tensor.dtype
        assert torch.equal(loaded[key], tensor)


def test_safetensors_for_torch(tmp_path):
    from safetensors.torch import load_file, save_file

    tensors = trained()[0].state_dict() | {"bf16": torch.randn(3).bfloat16()}
    save_file(tensors, tmp_path / "a.safetensors")
    got = read_safetensors(tmp_path / "a.safetensors")
    assert_same({key: got[key] for key in tensors}, tensors)
    write_safetensors(tmp_path / "b.safetensors", got)
    loaded = load_file(tmp_path / "b.safetensors")
    assert all(torch.equal(loaded[key], tensor) for key, tensor in tensors.items())


@pytest.mark.parametrize("name", ["msae.pth", "baseae.pth"])
def test_published_checkpoints_byte_for_byte(name):
    if not (REFERENCE / name).is_file():
        pytest.skip(f"no {name} in MSAE_REFERENCE_DIR or {REFERENCE}")
    assert_same(read_pth(REFERENCE / name), torch.load(REFERENCE / name, weights_only=True))


def test_a_file_without_checksums(tmp_path):
    expected = {"w": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1.5, -2.0])}
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(expected, tmp_path / "a.pth")
    finally:
        torch.serialization.set_crc32_options(before)
    with pytest.warns(UserWarning, match="nothing vouches"):
        got = read_pth(tmp_path / "a.pth")
    assert list(got) == list(expected)
    for key, array in got.items():
        np.testing.assert_array_equal(array, expected[key].numpy())


@pytest.mark.filterwarnings("ignore:.*nothing vouches:UserWarning")
def test_the_format_before_1_6(tmp_path):
    net = trained()[0]
    torch.save(net.state_dict(), tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    assert_same(read_pth(tmp_path / "a.pth"), net.state_dict())
    checkpoint = {"net": net.state_dict(), "epoch": 3, "ema": [torch.arange(3.0)]}
    torch.save(checkpoint, tmp_path / "b.pth.tar", _use_new_zipfile_serialization=False)
    assert_same(read_pth(tmp_path / "b.pth.tar", "net"), net.state_dict())


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_files_of_the_format_before_1_6_are_refused_or_read_as_by_torch(tmp_path):
    tensors = {
        "a.weight": torch.randn(3, 2),
        "a.count": torch.tensor(5),
        "b": torch.randn(4).half(),
    }
    torch.save(tensors, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    data, generator = (tmp_path / "a.pth").read_bytes(), random.Random(0)
    read = 0
    for _ in range(500):
        mutated = bytearray(data)
        for _ in range(generator.choice((1, 1, 4))):
            mutated[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        (tmp_path / "b.pth").write_bytes(mutated)
        try:
            got = read_pth(tmp_path / "b.pth")
        except InputError:
            continue
        try:
            expected = torch.load(tmp_path / "b.pth", weights_only=True, map_location="cpu")
        except RuntimeError:  # an integer whose flag that it needs a gradient is flipped
            continue
        assert list(got) == list(expected)
        for name, array in got.items():
            assert expected[name].numpy().tobytes() == array.tobytes()
        read += 1
    assert 50 < read < 400
