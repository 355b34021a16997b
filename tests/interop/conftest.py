"""The ten published state dicts, as the originals name and shape them; random weights of them;
the check that a hostile file is refused."""

from __future__ import annotations

import itertools
import os
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from msae_jax.errors import InputError
from msae_jax.interop import read_pth
from tests.interop.limits import MEMORY, in_time

REPOSITORY = Path(__file__).parents[2]
REFERENCE = Path(
    os.environ.get("MSAE_REFERENCE_DIR", REPOSITORY.parent / "shared" / "reference" / "msae")
)

Shapes = dict[str, tuple[int, ...]]


@pytest.fixture(scope="module")
def one_thread_of_pytorch() -> Iterator[None]:
    """With more, on tensors as small as here, PyTorch's threads wait for longer than they work."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def linear(*layers: tuple[str, int, int]) -> Shapes:
    """`(prefix, inputs, outputs)` to the shapes of weight and bias."""
    found: Shapes = {}
    for prefix, inputs, outputs in layers:
        found |= {f"{prefix}.weight": (outputs, inputs), f"{prefix}.bias": (outputs,)}
    return found


def kernel(prefix: str, shape: tuple[int, ...], bias: int) -> Shapes:
    return {f"{prefix}.weight": shape, f"{prefix}.bias": (bias,)}


def norm(prefix: str, channels: int) -> Shapes:
    names = ("weight", "bias", "running_mean", "running_var")
    return {f"{prefix}.{name}": (channels,) for name in names} | {
        f"{prefix}.num_batches_tracked": ()
    }


def sequence(prefix: str, start: int, *widths: int) -> Shapes:
    pairs = itertools.pairwise(widths)
    return linear(*((f"{prefix}.{start + 2 * i}", a, b) for i, (a, b) in enumerate(pairs)))


PUBLISHED: dict[str, Shapes] = {
    "msae": {
        **kernel("enc_short.1", (16, 1, 3), 16),
        **kernel("enc_short.3", (32, 16, 3), 32),
        **sequence("enc_short", 7, 512, 128, 32),
        **kernel("enc_long.1", (16, 1, 7), 16),
        **kernel("enc_long.3", (32, 16, 7), 32),
        **sequence("enc_long", 7, 256, 128, 32),
        **sequence("decoder", 0, 64, 128, 128),
    },
    "baseline": sequence("encoder", 0, 128, 128, 64) | sequence("decoder", 0, 64, 128, 128),
    "msae-mlp": {
        **sequence("encoder_small", 0, 392, 128, 64),
        **sequence("encoder_large", 0, 784, 256, 64),
        **sequence("decoder", 0, 128, 256, 784),
    },
    "baseline-mlp": sequence("encoder", 0, 784, 256, 64) | sequence("decoder", 0, 64, 256, 784),
    "superres": {
        **kernel("encoder.0", (32, 1, 3, 3), 32),
        **kernel("encoder.2", (64, 32, 3, 3), 64),
        **sequence("encoder", 5, 3136, 256, 64),
        **sequence("decoder", 0, 64, 256, 3136),
        **kernel("decoder.5", (64, 32, 4, 4), 32),
        **kernel("decoder.7", (32, 16, 4, 4), 16),
        **kernel("decoder.9", (1, 16, 3, 3), 1),
    },
    "conv": {
        **kernel("encoder.0", (32, 1, 3, 3), 32),
        **norm("encoder.1", 32),
        **kernel("encoder.3", (64, 32, 3, 3), 64),
        **norm("encoder.4", 64),
        **kernel("encoder.6", (128, 64, 3, 3), 128),
        **norm("encoder.7", 128),
        **linear(("encoder.10", 6272, 64), ("decoder.0", 64, 6272)),
        **kernel("decoder.3", (64, 128, 3, 3), 64),
        **norm("decoder.4", 64),
        **kernel("decoder.6", (64, 32, 4, 4), 32),
        **norm("decoder.7", 32),
        **kernel("decoder.9", (32, 1, 4, 4), 1),
    },
    "stacked": {
        **sequence("encoder", 1, 784, 512, 256, 128, 64),
        **sequence("decoder", 0, 64, 128, 256, 512, 784),
    },
    "vae3": linear(
        ("fc1", 784, 400), ("fc2", 400, 20), ("fc3", 400, 20), ("fc4", 20, 400), ("fc5", 400, 784)
    ),
    "vae5": linear(
        ("fc1", 784, 400), ("fc2", 400, 200), ("fc3", 200, 100), ("fc_mu", 100, 20),
        ("fc_logvar", 100, 20), ("fc4", 20, 100), ("fc5", 100, 200), ("fc6", 200, 400),
        ("fc7", 400, 784),
    ),
    "ae5": linear(
        ("fc1", 784, 400), ("fc2", 400, 200), ("fc3", 200, 100), ("fc_z", 100, 20),
        ("fc4", 20, 100), ("fc5", 100, 200), ("fc6", 200, 400), ("fc7", 400, 784),
    ),
}  # fmt: skip


def _random(shapes: Shapes, dtype: str = "float32") -> dict[str, np.ndarray]:
    """Random values in PyTorch's initial range; positive running variances; counts int64."""
    rng = np.random.default_rng(len(shapes))
    found = {}
    for key, shape in shapes.items():
        if key.endswith("num_batches_tracked"):
            found[key] = np.array(rng.integers(1, 1000), np.int64)
            continue
        bound = 1 / np.sqrt(max(np.prod(shape[1:]), 16))
        values = rng.uniform(-bound, bound, shape)
        found[key] = (np.abs(values) + 0.5 if key.endswith("running_var") else values).astype(dtype)
    return found


@pytest.fixture(scope="session")
def published() -> dict[str, Shapes]:
    """Keys, in order, and shapes of each published model."""
    return PUBLISHED


@pytest.fixture(scope="session")
def random_state_dict() -> Callable[..., dict[str, np.ndarray]]:
    """Makes random values of given shapes."""
    return _random


@pytest.fixture(scope="session")
def same_bits() -> Callable[[dict, dict], bool]:
    """Compares two state dicts: every key, order, dtype, shape and bit."""
    return _same


@pytest.fixture(scope="session")
def reference() -> Callable[[str], Path]:
    """Finds a published file, or skips."""

    def find(name: str) -> Path:
        if not (REFERENCE / name).is_file():
            pytest.skip(f"no {REFERENCE / name}: set MSAE_REFERENCE_DIR")
        return REFERENCE / name

    return find


def _same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    """Whether two state dicts agree in every key, order, dtype, shape and bit."""
    return list(a) == list(b) and all(
        (a[k].dtype, a[k].shape, a[k].tobytes()) == (b[k].dtype, b[k].shape, b[k].tobytes())
        for k in a
    )


@pytest.fixture
def sentinel(tmp_path: Path) -> Path:
    """The file that hostile pickles try to make."""
    return tmp_path / "ran"


@pytest.fixture
def refuse(tmp_path: Path, sentinel: Path) -> Callable[[bytes], str]:
    """Asserts that a file is refused as promised; returns the message.

    It is read twice: for the time, then under tracemalloc (which counts NumPy's memory too).
    """

    def check(data: bytes) -> str:
        path = tmp_path / "hostile.pth"
        path.write_bytes(data)
        with in_time(), pytest.raises(InputError) as caught:
            read_pth(path)
        assert caught.type is InputError
        tracemalloc.start()
        try:
            with pytest.raises(InputError):
                read_pth(path)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < len(data) + MEMORY
        assert not sentinel.exists()
        message = str(caught.value)
        assert message.startswith(f"{path} ")
        assert len(message) < 2_000
        print(f"{peak / 1e6:.1f} MB, file {len(data) / 1e6:.1f} MB: {message}")
        return message.removeprefix(str(path))

    return check
