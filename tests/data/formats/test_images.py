"""Folders and zip files of images: classes, splits, sizes, depths, and what is said of them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from msae_jax import data
from msae_jax.errors import InputError
from tests.data.formats.writers import encoded, put, zipped

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 5, 4, 1), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)


def classes(
    images: np.ndarray, names: Sequence[str] = "aaabbb", prefix: str = ""
) -> dict[str, bytes]:
    return {
        f"{prefix}{name}/{i}.png": encoded(image)
        for i, (name, image) in enumerate(zip(names, images, strict=True))
    }


def said(caplog: pytest.LogCaptureFixture) -> str:
    (line,) = [record.getMessage() for record in caplog.records]
    return line


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_splits_and_classes(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = classes(COLOUR[:4], "baba", "top/Train/") | classes(COLOUR[4:], "bb", "top/test/")
    files |= {"__MACOSX/top/._0.png": b"", "top/.DS_Store": b"", "top/notes.txt": b""}
    path = put(tmp_path / "x", files) if kind == "folder" else zipped(tmp_path / "x.zip", files)
    dataset = data.load(path)
    np.testing.assert_array_equal(dataset.train.x, COLOUR[[1, 3, 0, 2]])  # a/1, a/3, b/0, b/2
    np.testing.assert_array_equal(dataset.train.y, [0, 0, 1, 1])
    np.testing.assert_array_equal(dataset.test.x, COLOUR[4:])
    np.testing.assert_array_equal(dataset.test.y, [1, 1])  # numbered as in the training split
    assert dataset.classes == ("a", "b")
    assert said(caplog) == (
        f"{path}: files that are no images, left out: 1; the classes are numbered: a 0, b 1; "
        "6 images of 5 x 4 x 3"
    )


def test_without_a_test_split_a_tenth_is_held_out(tmp_path: Path) -> None:
    many = np.concatenate([GREY] * 4)
    for files in (classes(many, "71" * 12), classes(many, "71" * 12, "train/")):
        dataset = data.load(put(tmp_path / str(len(list(tmp_path.iterdir()))), files))
        order = [i for name in "17" for i in sorted(range(24), key=str) if "71"[i % 2] == name]
        held_out = np.sort(np.random.RandomState(0).permutation(24)[:2])
        np.testing.assert_array_equal(dataset.test.x, many[np.array(order)[held_out]])
        numbers = np.array([7, 1] * 12)  # classes that are whole numbers stay as they are
        np.testing.assert_array_equal(dataset.test.y, numbers[np.array(order)[held_out]])


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    dataset = data.load(put(tmp_path / "x", classes(GREY[:2], ["train", "ship"])))
    assert {*dataset.train.y, *dataset.test.y} == {0, 1}
    files = classes(GREY[:2], "ab", "train/") | classes(GREY[2:4], "ab", "test/")
    files["other/x.png"] = encoded(GREY[4])
    assert len(data.load(put(tmp_path / "y", files)).train.x) == 2


def test_images_without_classes(tmp_path: Path) -> None:
    path = put(tmp_path / "x", {f"deep/{i}.png": encoded(image) for i, image in enumerate(GREY)})
    np.testing.assert_array_equal(data.load_array(path), GREY)
    assert data.load(path).train.y is None


def test_all_images_are_brought_to_one_size(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A uniform image stays so; of a wide one the middle is kept, of its whole height."""
    wide = np.zeros((10, 40, 3), np.uint8)
    wide[:, 15:25] = 200
    path = put(
        tmp_path / "x", {"a.png": encoded(wide), "b.png": encoded(np.full((8, 8, 3), 7, "u1"))}
    )
    with pytest.raises(InputError, match=r"b\.png: has 8 x 8 pixels, a\.png 10 x 40: --image-size"):
        data.load(path)
    x = data.load_array(f"{path}?image_size=5x6")
    assert x.shape == (2, 5, 6, 3)
    assert (x[1] == 7).all()
    assert (x[0, :, 2:4] > 180).all()
    assert "scaled to fill 5 x 6 and cut at the edges" in caplog.messages[-1]
    assert data.load_array(f"{path}?image_size=4").shape == (2, 4, 4, 3)


def test_images_of_16_bits_are_said_and_scaled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deep = RNG.integers(0, 65536, (3, 5, 4), dtype=np.uint16)
    path = put(tmp_path / "x", {f"{i}.png": encoded(image) for i, image in enumerate(deep)})
    put(path, {"0.tif": encoded(deep[0], "TIFF")})
    x = data.load_array(path)
    assert "16-bit images are divided by 65535 (--scale)" in said(caplog)
    expected = np.concatenate([deep[:1], deep])[..., None].astype(np.float32)
    np.testing.assert_array_equal(x, expected / np.float32(65535))
    np.testing.assert_array_equal(
        data.load_array(f"{path}?scale=4095"), expected / np.float32(4095)
    )
    np.testing.assert_array_equal(data.load_array(f"{path}?scale=1"), expected)
    np.save(tmp_path / "x.npy", expected[1:].astype(np.uint16))
    with pytest.raises(InputError, match=r"whole numbers .* as uint16: --scale 65535 takes them"):
        data.load(tmp_path / "x.npy")
    np.testing.assert_array_equal(data.load_array(f"{tmp_path}/x.npy?scale=65535"), x[1:])
    small = data.load_array(f"{path}?image_size=2")
    assert small.shape == (4, 2, 2, 1)
    assert 0 <= small.min() < small.max() <= 1


def deep_colour() -> bytes:
    """A PNG of 16-bit colours, which Pillow does not write: 1 x 1, 0x1234 0x5678 0x9abc."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0\x12\x34\x56\x78\x9a\xbc")
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_what_is_left_out_of_images_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = Image.new("RGB", (1, 1), (1, 2, 3))
    files = {
        "a.png": deep_colour(),
        "b.png": saved(Image.new("L", (1, 1), 9), "PNG"),
        "c.png": saved(Image.new("RGBA", (1, 1), (4, 5, 6, 0)), "PNG"),
        "d.gif": saved(one, "GIF", save_all=True, append_images=[Image.new("RGB", (1, 1))]),
        "e.bmp": saved(one, "BMP"),
        "f.webp": saved(one, "WEBP", lossless=True),
    }
    x = data.load_array(put(tmp_path / "x", files))
    assert x[:, 0, 0].tolist() == [
        [0x12, 0x56, 0x9A], [9, 9, 9], [4, 5, 6], [1, 2, 3], [1, 2, 3], [1, 2, 3],
    ]  # fmt: skip
    for text in (
        "grey images that get three equal channels: 1",
        "images without their transparency: 1",
        "files of several images, of which the first is read: 1",
        "images of 16-bit colours, of which 8 bits are read: 1",
    ):
        assert text in said(caplog)


def test_photographs_stand_upright(tmp_path: Path) -> None:
    """EXIF's orientation 6 says that the first row is the right side."""
    lying = Image.new("L", (16, 8))
    lying.paste(255, (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = 6
    x = data.load_array(put(tmp_path / "x", {"a.jpg": saved(lying, "JPEG", exif=exif)}))
    assert x.shape == (1, 16, 8, 1)
    assert x[0, 1:7].mean() > 240
    assert x[0, 9:].mean() < 15


def test_a_link_to_a_folder_above_ends(tmp_path: Path) -> None:
    path = put(tmp_path / "x", classes(GREY))
    (path / "a" / "again").symlink_to(path)
    assert data.load_array(path).shape == GREY.shape


def test_a_size_is_a_number_or_two(tmp_path: Path) -> None:
    for size in ("0", "big", "3x", "4x-2"):
        with pytest.raises(InputError, match=r"image_size must be 32, or 30x20 \(HxW\), got"):
            data.load(f"{tmp_path}?image_size={size}")
