"""Real checkpoints from public repositories; they lie in `wild/` of `MSAE_DATA_DIR`, not here."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from msae_jax.errors import InputError
from msae_jax.interop import read_pth

torch = pytest.importorskip("torch", reason="PyTorch is not installed (the torch extra)")

REPOSITORY = Path(__file__).parents[2]
WILD = Path(os.environ.get("MSAE_DATA_DIR", REPOSITORY.parent / "shared" / "data")) / "wild"
CODE = {  # whole modules, TorchScript, enums among the hyper-parameters, NumPy's scalars
    "07", "09", "10", "15", "22", "23", "32", "33", "36", "41", "42", "50", "51", "55", "56", "60",
}  # fmt: skip
NO_ARRAYS = {"12": "quantised", "37": "an empty state dict", "52": "quantised"}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "path", [p for p in sorted(WILD.glob("*")) if p.suffix in (".pth", ".pt", ".ckpt", ".tar")]
    or [pytest.param(None, marks=pytest.mark.skip(f"no {WILD}: set MSAE_DATA_DIR"))],
    ids=lambda path: path.name if path else "none",
)  # fmt: skip
def test_files_in_the_wild_are_read_as_by_torch_or_refused_in_words(path):
    number = path.name[:2]
    if number in NO_ARRAYS:
        with pytest.raises(InputError, match=NO_ARRAYS[number]):
            read_pth(path)
    elif number in CODE - {"60"}:
        with pytest.raises(InputError, match=r"carries code|TorchScript.*torch\.jit\.load"):
            read_pth(path)
    else:
        allowed = [(np._core.multiarray.scalar, "numpy.core.multiarray.scalar"), np.dtype]
        with torch.serialization.safe_globals([*allowed, type(np.dtype("float64"))]):
            loaded = torch.load(path, weights_only=True, map_location="cpu")
        got, expected = read_pth(path), _tensors_of(loaded)
        assert list(got) == list(expected)
        for name, tensor in expected.items():
            assert str(got[name].dtype) == str(tensor.dtype).removeprefix("torch.")
            np.testing.assert_array_equal(got[name], tensor.numpy(), strict=True)


def _tensors_of(loaded):
    """The state dict in what `torch.load` returns, found by other means than ours."""
    for name in ("state_dict", "model_state_dict", "model", "net", "autoencoder_state_dict"):
        if isinstance(loaded, dict) and isinstance(loaded.get(name), dict):
            loaded = loaded[name]
    return {
        name.removeprefix("module."): value
        for name, value in loaded.items()
        if isinstance(value, torch.Tensor)
    }
