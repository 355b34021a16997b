"""A user's own arrays: `.npy`, `.npz` and `.csv` files, one sample a row."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from msae_jax.data.dataset import Dataset, Samples, Source, Split
from msae_jax.data.options import CSV_ONLY, Options, note, parse
from msae_jax.errors import InputError

SUFFIXES = (".npy", ".npz", ".csv")
HELD_OUT = 10  # one sample in ten becomes the test split of a file that has none
FAINT = 16  # uint8 values that go no higher are hardly intensities


def load_array(path: str | Path) -> np.ndarray:
    """Returns the samples [N, ...] of a file, ready for a model.

    uint8 stays uint8 (intensities 0..255; [N, H, W] gets its channel, [N, H, W, 1]); any other
    number becomes float32, unscaled. An `.npz` must hold one array, or one named `x`. Options of
    `msae_jax.data.options.Options` may follow the name: `x.csv?label=y`, `x.npy?scale=255`.

    Raises: InputError if the file is missing or unreadable; if its values are not numbers, not
    finite, none at all, or without a sample axis; or if only an option can tell how to read them.
    """
    path, options = parse(path)
    return as_samples(single(_read(path, options), path), str(path), options)


def load(name: str | Path) -> Dataset:
    """Returns a file's samples as a Dataset, float32 or uint8 [N, ...].

    An `.npz` may hold `train` and `test`, or `x_train` and `x_test`, with labels `y_train` and
    `y_test`; or one array (`x` if there are several), with labels `y`. Of a file with one array a
    tenth is held out as the test split: the first tenth of
    `numpy.random.RandomState(0).permutation(N)`, or with the option `split=hash` what `_by_hash`
    picks; both splits in file order.

    Raises: InputError as `load_array` does, and for labels that are not integers or not as many as
    the samples, for splits that differ in shape, and for fewer than two samples.
    """
    path, options = parse(name)
    content = _read(path, options)
    for train, test in [("x_train", "x_test"), ("train", "test")]:
        if train in content and test in content:
            splits = {
                part: Split(
                    as_samples(content[key], f"{path}[{key}]", options),
                    _labels(content, f"y_{part}", path),
                )
                for part, key in [("train", train), ("test", test)]
            }
            return Dataset(str(name), **splits)
    x = as_samples(single(content, path), str(path), options)
    y = _labels(content, "y", path)
    if len(x) < 2:
        raise InputError(f"{path}: holds {len(x)} sample, expected at least 2 (train and test)")
    if y is not None and len(y) != len(x):
        raise InputError(f"{path}: holds {len(x)} samples and {len(y)} labels")
    parts = _by_hash(x) if options.split == "hash" else _by_permutation(len(x))
    train_split, test_split = (Split(x[i], None if y is None else y[i]) for i in parts)
    return Dataset(str(name), train_split, test_split, classes=_classes(content))


def _by_permutation(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows to train on, and a tenth of all rows to test on."""
    order = np.random.RandomState(0).permutation(n)  # a stream that stays as it is
    held_out = max(1, n // HELD_OUT)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def _by_hash(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns rows to train and to test on, about a tenth, by the SHA-256 of each row's bytes."""
    digests = (hashlib.sha256(np.ascontiguousarray(row).tobytes()).digest() for row in x)
    share = np.array([int.from_bytes(digest[:8], "big") / 2**64 for digest in digests])
    held_out = share < 1 / HELD_OUT
    if held_out.all() or not held_out.any():  # few samples: each part needs one
        held_out = share == share.min()
        if held_out.all():
            raise InputError("all samples are equal: --split hash would part none from the others")
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def as_samples(values: np.ndarray, where: str, options: Options | None = None) -> np.ndarray:
    """Returns `values` [N, ...] as contiguous uint8 or float32; `where` names them in errors."""
    options = options or Options()
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
    values = _channels_last(values, where, options)
    values = _scaled(values, where, options)
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values[..., None] if values.ndim == 3 else values)
    if values.ndim == 3:
        n, height, width = values.shape
        note(
            f"{where}: taken for {n} images of {height} x {width}; --layout series takes it for "
            f"{n} series of {height} points and {width} channels"
        )
    with np.errstate(all="ignore"):  # what does not fit is found out below
        values = np.ascontiguousarray(values, np.float32)
    finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if not finite.all():
        raise InputError(
            f"{where}: {int((~finite).sum())} of {len(values)} samples hold NaN or infinity in "
            f"float32, the first is sample {int(finite.argmin())}"
        )
    return values


def as_input(x: Any) -> Samples:
    """Converts the input that a caller gives a model to samples [N, ...], uint8 or float32.

    JAX arrays and nested lists become NumPy arrays; a `Source` stays as it is.

    Raises: InputError if `x` is not an array of real numbers, has no samples, or holds masked
      values, NaN or infinity.
    """
    if isinstance(x, Source) and not isinstance(x, np.ndarray | list | tuple):
        return x
    if isinstance(x, np.ma.MaskedArray) and x.mask.any():
        raise InputError("x holds masked values: fill them, or leave their samples out.")
    try:
        array = np.asarray(x)
    except (ValueError, TypeError) as error:  # rows of unequal lengths
        raise InputError(f"x must be an array [N, ...], got {type(x).__name__}: {error}") from error
    if array.dtype.kind not in "biuf" or array.ndim < 1 or len(array) == 0:
        raise InputError(
            f"x must hold real numbers [N, ...] of at least one sample, got {type(x).__name__} of "
            f"{array.dtype} {list(array.shape)}."
        )
    if array.dtype == np.uint8:
        return array
    with np.errstate(all="ignore"):
        array = array.astype(np.float32, copy=False)
    finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
    if not finite.all():
        raise InputError(f"x: sample {int(finite.argmin())} holds NaN or infinity in float32.")
    return array


def _channels_last(values: np.ndarray, where: str, options: Options) -> np.ndarray:
    if options.layout == "channels-first":
        if values.ndim != 4:
            raise InputError(f"{where}: layout is for images [N, C, H, W], got {values.shape}")
        return np.moveaxis(values, 1, -1)
    channels = (1, 3, 4)
    if options.layout is None and values.ndim == 4:
        first, *_, last = values.shape[1:]
        if first in channels and last not in channels and min(values.shape[2:]) > 4:
            raise InputError(
                f"{where}: has shape {values.shape}, which looks like images [N, C, H, W]: "
                "--layout channels-first makes them [N, H, W, C], --layout channels-last takes "
                "them as they are"
            )
    return values


def _scaled(values: np.ndarray, where: str, options: Options) -> np.ndarray:
    """Returns the values divided by `options.scale`; unchanged if no scale is given.

    With scale 255, whole numbers 0..255 become uint8, so that every format gives the same bits.

    Raises: InputError if no scale is given and the values may or may not be intensities.
    """
    if options.scale is not None:
        scale = options.divisor()
        if scale == 255 and _are_intensities(values):
            return values.astype(np.uint8)
        if scale == 1 and values.dtype != np.uint8:
            return values
        with np.errstate(all="ignore"):
            return values.astype(np.float32) / np.float32(scale)
    if values.dtype == np.uint8:
        if int(values.max()) <= FAINT:
            raise InputError(
                f"{where}: is uint8 of 0 to {values.max()}; uint8 is usually divided by 255, but "
                "these values are small: --scale 1 keeps them as they are, --scale 255 divides them"
            )
        if values.ndim == 2:
            note(f"{where}: uint8 is divided by 255 (--scale 1 takes it as it is)")
    elif values.dtype.kind != "b" and _are_intensities(values) and values.max() > 127:
        text = f"holds whole numbers {values.min():g} to {values.max():g} as {values.dtype}"
        if values.ndim > 2:
            raise InputError(
                f"{where}: {text}: --scale 255 takes them for intensities, --scale 1 as they are"
            )
        note(f"{where}: {text}, taken as they are (--scale 255 takes them for intensities)")
    return values


def _are_intensities(values: np.ndarray) -> bool:
    """Whether all values are whole numbers 0 to 255."""
    if values.dtype == np.uint8:
        return True
    with np.errstate(all="ignore"):
        return bool(values.min() >= 0 and values.max() <= 255 and (values == values // 1).all())


def _read(path: Path, options: Options) -> Mapping[str, np.ndarray]:
    """Returns the named arrays of a file; the only one of an `.npy` or `.csv` file is `x`."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: expected a file ending in {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise InputError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}")
    if suffix == ".csv":
        from msae_jax.data.table import read_csv

        table = read_csv(path, options)
        if table.notes:
            note(f"{path}: {'; '.join(table.notes)}")
        found = {"x": table.x, "y": table.y, "classes": table.classes}
        return {key: np.asarray(value) for key, value in found.items() if value is not None}
    for option in CSV_ONLY:
        if getattr(options, option) is not None:
            raise InputError(f"{path}: --{option} is for .csv files")
    from msae_jax.data import binary

    content = binary.read(path)
    return {"x": content} if isinstance(content, np.ndarray) else content


def single(content: Mapping[str, np.ndarray], path: Path) -> np.ndarray:
    """Returns the samples among a file's named arrays.

    Raises: InputError if it is not clear which they are.
    """
    arrays = {key: value for key, value in content.items() if key != "y"}
    if "x" in arrays:
        return arrays["x"]
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    raise InputError(
        f"{path}: holds the arrays {', '.join(sorted(content)) or '(none)'}; expected one array, "
        "or 'x' (and 'y'), or, to train on, 'train' and 'test' or 'x_train' and 'x_test'"
    )


def _classes(content: Mapping[str, np.ndarray]) -> tuple[str, ...] | None:
    """Returns the texts that the labels of a `.csv` file number; other files hold no text."""
    found = content.get("classes")
    return None if found is None or found.dtype.kind != "U" else tuple(found.tolist())


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
