"""A user's own arrays: `.npy`, `.npz` and `.csv` files, one sample a row."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from msae_jax.data.dataset import Dataset, Split
from msae_jax.errors import InputError

SUFFIXES = (".npy", ".npz", ".csv")
HELD_OUT = 10  # one sample in ten becomes the test split of a file that has none


def load_array(path: str | Path) -> np.ndarray:
    """Returns the samples [N, ...] of a file, ready for a model.

    uint8 stays uint8 (intensities 0..255; [N, H, W] gets its channel, [N, H, W, 1]); any other
    number becomes float32, unscaled. An `.npz` must hold one array, or one named `x`.

    Raises: InputError for a missing or unreadable file, for what is not numbers, is empty, has no
    sample axis, or is not finite.
    """
    path = Path(path)
    content = _read(path)
    if isinstance(content, np.ndarray):
        return as_samples(content, str(path))
    return as_samples(_single(content, path), str(path))


def load(path: str | Path) -> Dataset:
    """Returns a file's samples as a Dataset, float32 or uint8 [N, ...].

    An `.npz` may hold `train` and `test`, or `x_train` and `x_test`, with labels `y_train` and
    `y_test`; or one array (`x` if there are several), with labels `y`. Of a file with one array a
    tenth is held out as the test split: the first tenth of
    `numpy.random.RandomState(0).permutation(N)`, both splits in file order.

    Raises: InputError as `load_array` does, and for labels that are not integers or not as many as
    the samples, for splits that differ in shape, and for fewer than two samples.
    """
    path = Path(path)
    content = _read(path)
    if isinstance(content, np.ndarray):
        content = {"x": content}
    for train, test in [("x_train", "x_test"), ("train", "test")]:
        if train in content and test in content:
            splits = {
                part: Split(
                    as_samples(content[key], f"{path}[{key}]"), _labels(content, f"y_{part}", path)
                )
                for part, key in [("train", train), ("test", test)]
            }
            return Dataset(str(path), **splits)
    x, y = as_samples(_single(content, path), str(path)), _labels(content, "y", path)
    if len(x) < 2:
        raise InputError(f"{path}: holds {len(x)} sample, expected at least 2 (train and test)")
    if y is not None and len(y) != len(x):
        raise InputError(f"{path}: holds {len(x)} samples and {len(y)} labels")
    order = np.random.RandomState(0).permutation(len(x))  # a stream that stays as it is
    held_out = max(1, len(x) // HELD_OUT)
    parts = np.sort(order[held_out:]), np.sort(order[:held_out])
    train_split, test_split = (Split(x[i], None if y is None else y[i]) for i in parts)
    return Dataset(str(path), train_split, test_split)


def as_samples(values: np.ndarray, where: str) -> np.ndarray:
    """Returns `values` [N, ...] as contiguous uint8 or float32; `where` names them in errors."""
    if values.dtype.kind not in "biuf":
        raise InputError(
            f"{where}: has dtype {values.dtype}, expected real numbers in one rectangular array"
        )
    if values.ndim < 2:
        raise InputError(
            f"{where}: has shape {values.shape}, expected [samples, ...] with one sample a row "
            "(for a single sample: x[None])"
        )
    if values.size == 0:
        raise InputError(f"{where}: has shape {values.shape} and holds no values")
    if values.dtype == np.uint8:
        values = values[..., None] if values.ndim == 3 else values
        return np.ascontiguousarray(values)
    with np.errstate(over="ignore"):  # what overflows is found out below
        values = np.ascontiguousarray(values, np.float32)
    finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if not finite.all():
        raise InputError(
            f"{where}: {int((~finite).sum())} of {len(values)} samples hold NaN or infinity in "
            f"float32, the first is sample {int(finite.argmin())}"
        )
    return values


def _read(path: Path) -> np.ndarray | dict[str, np.ndarray]:
    """Returns the array of an `.npy` or `.csv` file, or the named arrays of an `.npz` file."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: expected a file ending in {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise InputError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}")
    if suffix == ".csv":
        from msae_jax.data.table import read_csv

        return read_csv(path)
    try:
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            if isinstance(content, np.ndarray):
                return content
            return {key: content[key] for key in content.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: not a readable {suffix} file of numbers: {reason}") from error


def _single(content: Mapping[str, np.ndarray], path: Path) -> np.ndarray:
    arrays = {key: value for key, value in content.items() if key != "y"}
    if "x" in arrays:
        return arrays["x"]
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    raise InputError(
        f"{path}: holds the arrays {', '.join(sorted(content)) or '(none)'}; expected one array, "
        "or 'x' (and 'y'), or, to train on, 'train' and 'test' or 'x_train' and 'x_test'"
    )


def _labels(content: Mapping[str, np.ndarray], key: str, path: Path) -> np.ndarray | None:
    if key not in content:
        return None
    y = content[key]
    if y.dtype.kind not in "iu" or y.ndim != 1:
        raise InputError(f"{path}[{key}]: is {y.dtype} {y.shape}, expected integer labels [N]")
    bounds = np.iinfo(np.int32)
    if y.size and not bounds.min <= int(y.min()) <= int(y.max()) <= bounds.max:
        raise InputError(f"{path}[{key}]: labels {y.min()} to {y.max()} do not fit int32")
    return y.astype(np.int32)
