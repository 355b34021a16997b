"""How stored values become samples: uint8 or float32, channels last, divided by a scale or not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from msae_jax.data.dataset import Samples, Source
from msae_jax.data.formats.stored import Stored
from msae_jax.data.options import Options, note
from msae_jax.errors import InputError

CHUNK = 2**24  # bytes of an array that are looked at at once
FAINT = 16  # uint8 values that go no higher are hardly intensities
BRIGHT = 127  # values from 0 to beyond it, and up to 255, may be intensities


class Form(NamedTuple):
    """How stored values [N, ...] become samples, any number of them at a time.

    Attributes:
      shape: of a sample.
      dtype: uint8 or float32.
      channels_first: whether axis 1 holds the channels of images, and goes to the end.
      divisor: of float32 samples.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    channels_first: bool = False
    divisor: float = 1.0

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Returns the samples [N, ...], contiguous; the values themselves where they are such."""
        if self.channels_first:
            values = np.moveaxis(values, 1, -1)
        with np.errstate(all="ignore"):  # what does not fit was found out by `Seen`
            values = values.astype(self.dtype, copy=False)
            if self.dtype != np.uint8 and self.divisor != 1:
                values = values / np.float32(self.divisor)
        return np.ascontiguousarray(values).reshape(len(values), *self.shape)


@dataclass
class Seen:
    """What is known of values [N, ...] that are looked at part by part.

    Attributes:
      divisor: what they are to be divided by.
      count: samples so far.
      low, high: the least and the greatest value.
      whole: whether all values are whole numbers, if they lie in 0 to 65,535.
      spoiled: samples that hold NaN or infinity in float32, of which `first` is the first.
    """

    divisor: float = 1.0
    count: int = 0
    low: float = math.inf
    high: float = -math.inf
    whole: bool = True
    spoiled: int = 0
    first: int | None = None

    def add(self, values: np.ndarray) -> None:
        """Looks at the next values."""
        floating = values.dtype.kind == "f"
        if floating or self.divisor < 1:  # whole numbers are finite in float32
            ready = Form(values.shape[1:], np.dtype(np.float32), divisor=self.divisor)(values)
            finite = np.isfinite(ready).reshape(len(values), -1).all(axis=1)
            if not finite.all():
                if self.first is None:
                    self.first = self.count + int(finite.argmin())
                self.spoiled += int((~finite).sum())
        self.count += len(values)
        with np.errstate(all="ignore"):
            low, high = float(values.min()), float(values.max())
            self.low, self.high = min(self.low, low), max(self.high, high)
            if self.whole and floating and low >= 0 and high <= 65535:
                self.whole = bool((values == np.floor(values)).all())


def look(x: np.ndarray | Stored, options: Options) -> Seen:
    """Returns what is known of stored values, looking at a part at a time."""
    seen = Seen(1.0 if options.scale is None else options.divisor())
    for chunk in chunks(x):
        seen.add(chunk)
    return seen


def chunks(x: np.ndarray | Stored) -> Iterator[np.ndarray]:
    """Yields stored values, consecutive samples at a time."""
    if not isinstance(x, np.ndarray):
        yield from x.chunks()
        return
    rows = max(1, CHUNK // max(1, math.prod(x.shape[1:]) * x.dtype.itemsize))
    for begin in range(0, len(x), rows):
        yield x[begin : begin + rows]


def form_of(x: np.ndarray | Stored, where: str, options: Options) -> Form:
    """Returns how stored values become samples; `where` names them in errors and notes.

    Raises: InputError if they are no samples, or if only an option can tell how to read them.
    """
    if x.dtype.kind not in "biuf":
        raise InputError(
            f"{where}: has dtype {x.dtype}, expected real numbers in one rectangular array"
        )
    if len(x.shape) < 2:
        raise InputError(
            f"{where}: has shape {x.shape}, expected [samples, ...] with one sample a row "
            "(for a single sample: x[None])"
        )
    if math.prod(x.shape) == 0:
        raise InputError(f"{where}: has shape {x.shape} and holds no values")
    if not isinstance(x, np.ndarray) and x.images:
        return _of_image_files(x, where, options)
    first = _is_channels_first(x.shape, where, options)
    shape = x.shape[1:] if not first else (*x.shape[2:], x.shape[1])
    seen = look(x, options)
    if seen.spoiled:
        raise InputError(
            f"{where}: {seen.spoiled} of {seen.count} samples hold NaN or infinity in float32, the "
            f"first is sample {seen.first}"
        )
    if options.scale is not None:
        scale = options.divisor()
        whole = seen.whole and seen.low >= 0 and seen.high <= 255
        as_uint8 = scale == 255 and (whole or x.dtype == np.uint8)
    else:
        scale = 1.0
        as_uint8 = x.dtype == np.uint8
        _ask(x, seen, where)
    if as_uint8:
        shape = (*shape, 1) if len(shape) == 2 else shape
        return Form(shape, np.dtype(np.uint8), first)
    if len(shape) == 2:
        n, (height, width) = len(x), shape
        note(
            f"{where}: taken for {n} images of {height} x {width}; --layout series takes it for "
            f"{n} series of {height} points and {width} channels"
        )
    return Form(shape, np.dtype(np.float32), first, scale)


def _of_image_files(x: Stored, where: str, options: Options) -> Form:
    """Returns the form of decoded images: 8 bits stay uint8, others become shares of white."""
    if options.layout is not None:
        raise InputError(f"{where}: --layout is for arrays; images of files have channels last")
    scale = options.divisor() if options.scale is not None else float(np.iinfo(x.dtype).max)
    if x.dtype == np.uint8 and scale == 255:
        return Form(x.shape[1:], np.dtype(np.uint8))
    return Form(x.shape[1:], np.dtype(np.float32), divisor=scale)


def _is_channels_first(shape: tuple[int, ...], where: str, options: Options) -> bool:
    if options.layout == "channels-first":
        if len(shape) != 4:
            raise InputError(f"{where}: layout is for images [N, C, H, W], got {shape}")
        return True
    channels = (1, 3, 4)
    if options.layout is None and len(shape) == 4:
        first, *_, last = shape[1:]
        if first in channels and last not in channels and min(shape[2:]) > 4:
            raise InputError(
                f"{where}: has shape {shape}, which looks like images [N, C, H, W]: "
                "--layout channels-first makes them [N, H, W, C], --layout channels-last takes "
                "them as they are"
            )
    return False


def _ask(x: np.ndarray | Stored, seen: Seen, where: str) -> None:
    """Says that values without a scale may be intensities.

    Raises: InputError where that is likely.
    """
    low, high = seen.low, seen.high
    images = len(x.shape) > 2
    if x.dtype == np.uint8:
        if high <= FAINT:
            raise InputError(
                f"{where}: is uint8 of 0 to {high:g}; uint8 is usually divided by 255, but "
                "these values are small: --scale 1 keeps them as they are, --scale 255 divides them"
            )
        if not images:
            note(f"{where}: uint8 is divided by 255 (--scale 1 takes it as it is)")
        return
    deep = 255 < high <= 65535 and seen.whole and (images or x.dtype == np.uint16)
    if x.dtype.kind == "b" or low < 0 or not (BRIGHT < high <= 255 or deep):
        return
    white = 65535 if deep else 255
    kind = "whole numbers" if seen.whole else "values"
    text = f"holds {kind} {low:g} to {high:g} as {x.dtype}"
    if images:
        raise InputError(
            f"{where}: {text}: --scale {white} takes them for intensities, --scale 1 as they are"
        )
    note(f"{where}: {text}, taken as they are (--scale {white} takes them for intensities)")


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
