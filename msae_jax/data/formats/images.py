"""Encoded images: what their headers say of all of them, and their pixels, by Pillow."""

from __future__ import annotations

import contextlib
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from msae_jax.data.formats.stored import readable
from msae_jax.data.options import Options
from msae_jax.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_GREY = ("1", "L", "LA")
_DEEP = ("I;16", "I;16B", "I;16L")
_COLOUR = ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
_ALPHA = ("LA", "PA", "RGBA")
_TURNED = ("JPEG", "MPO", "TIFF", "WEBP")
"""Formats of cameras, which store beside the pixels which side is up."""
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Reading:
    """How encoded images become arrays of one shape.

    Attributes:
      shape: (height, width, 1), or (height, width, 3) of colours.
      dtype: uint8, or uint16 of 16-bit images.
      resized: whether images of another size are scaled to fill this one, and cut at the edges.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype
    resized: bool

    def decode(self, file: BinaryIO, name: str) -> np.ndarray:
        """Returns the pixels [H, W, C] of an image.

        Raises: InputError if they are damaged.
        """
        from PIL import Image, ImageOps

        height, width, channels = self.shape
        with _opened(file, name) as image:
            if image.format in _TURNED:
                ImageOps.exif_transpose(image, in_place=True)
            if self.dtype == np.uint16:
                pixels = image.convert("I")
            elif channels == 1:
                pixels = image.convert("L")
            else:  # Pillow has no direct way from transparent palettes
                pixels = image.convert("RGBA") if image.mode in ("P", "PA") else image
                pixels = pixels.convert("RGB")
            if self.resized and pixels.size != (width, height):
                pixels = ImageOps.fit(pixels, (width, height), Image.Resampling.BICUBIC)
            limits = np.iinfo(self.dtype)  # which cubic curves leave
            values = np.clip(np.asarray(pixels), limits.min, limits.max)
            return values.astype(self.dtype).reshape(self.shape)


@dataclass
class Survey:
    """What the headers of images say, one after another."""

    count: int = 0
    sizes: dict[tuple[int, int], str] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)

    def add(self, file: BinaryIO, name: str) -> None:
        """Looks at the header of an image.

        Raises: InputError if it is none that is read here, or is larger than Pillow's limit.
        """
        from PIL import Image

        with warnings.catch_warnings():  # not safe in threads, in which images are decoded
            warnings.simplefilter("ignore")  # of odd headers
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with _opened(file, name) as image:
                found = _found(image, name)
                size = image.size
                if image.format in _TURNED and _orientation(image) >= 5:  # it lies on its side
                    size = size[::-1]
        self.count += 1
        self.sizes.setdefault((size[1], size[0]), name)
        self.seen.update(what for what, is_so in found.items() if is_so)

    def reading(self, options: Options, where: str, notes: list[str]) -> Reading:
        """Returns how all the images become arrays of one shape.

        Raises: InputError if their sizes differ and no size is given, or their depths do.
        """
        size = options.size()
        (first, name), *others = self.sizes.items()
        if size is None and others:
            odd, odd_name = others[0]
            raise InputError(
                f"{odd_name}: has {odd[0]} x {odd[1]} pixels, {name.rpartition('/')[2]} "
                f"{first[0]} x {first[1]}: --image-size {min(first)} brings all images to one size"
            )
        if self.seen["deep"] not in (0, self.count):
            raise InputError(
                f"{where}: {self.seen['deep']} of {self.count} images are grey of 16 bits, the "
                "others are not: expected one kind"
            )
        deep, colour = bool(self.seen["deep"]), bool(self.seen["colour"])
        height, width = size or first
        self._say(options, (height, width), notes)
        dtype = np.dtype(np.uint16 if deep else np.uint8)
        return Reading((height, width, 3 if colour else 1), dtype, size is not None)

    def _say(self, options: Options, size: tuple[int, int], notes: list[str]) -> None:
        seen = self.seen
        resized = [found for found in self.sizes if found != size]
        if resized:
            notes.append(f"images are scaled to fill {size[0]} x {size[1]} and cut at the edges")
        if seen["deep"] and options.scale is None:
            notes.append("16-bit images are divided by 65535 (--scale)")
        if seen["grey"] and seen["colour"]:
            notes.append(f"grey images that get three equal channels: {seen['grey']}")
        if seen["alpha"]:
            notes.append(f"images without their transparency: {seen['alpha']}")
        if seen["frames"]:
            notes.append(f"files of several images, of which the first is read: {seen['frames']}")
        if seen["lossy"]:
            notes.append(f"JPEG, whose compression has changed the values: {seen['lossy']} images")
        if seen["coarse"]:
            notes.append(f"images of 16-bit colours, of which 8 bits are read: {seen['coarse']}")


def _found(image: Image.Image, name: str) -> dict[str, bool]:
    """Returns what is true of an image, of which the header is read."""
    mode = image.mode
    if mode == "I" and image.format in ("PNG", "PPM"):
        mode = _DEEP[0]  # as some versions of Pillow open them
    if mode not in (*_GREY, *_DEEP, *_COLOUR):
        raise InputError(
            f"{name}: has pixels of mode {mode}, expected 8 or 16 bits: save such images as an .npy"
        )
    return {
        "grey": mode in _GREY,
        "deep": mode in _DEEP,
        "colour": mode in _COLOUR,
        "alpha": mode in _ALPHA or "transparency" in image.info,
        "frames": image.format != "MPO" and getattr(image, "n_frames", 1) > 1,
        "lossy": image.format in ("JPEG", "MPO"),
        "coarse": mode in _COLOUR and ";16" in str(getattr(image, "tile", "")),
    }


def _orientation(image: Image.Image) -> int:
    return int(image.getexif().get(_ORIENTATION, 1))


@contextlib.contextmanager
def _opened(file: BinaryIO, name: str) -> Iterator[Image.Image]:
    """Opens an image; its header is read, its pixels when they are asked for."""
    from PIL import Image

    with readable(name, "image"), Image.open(file, formats=FORMATS) as image:
        yield image
