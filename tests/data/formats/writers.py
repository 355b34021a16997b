"""Writes the same samples in every format; what Hugging Face and zarr write is written by hand."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import csv, feather, parquet


def hugging_face(path: Path, table: pa.Table, files: int = 1) -> Path:
    """As `datasets.Dataset.save_to_disk` writes: Arrow streams, and the names of them."""
    path.mkdir(parents=True)
    names = [f"data-{i:05}-of-{files:05}.arrow" for i in range(files)]
    cuts = np.linspace(0, len(table), files + 1).astype(int)
    for name, begin, end in zip(names, cuts[:-1], cuts[1:], strict=True):
        with (
            pa.OSFile(str(path / name), "wb") as file,
            pa.ipc.new_stream(file, table.schema) as writer,
        ):
            writer.write_table(table.slice(begin, end - begin), max_chunksize=7)
    (path / "state.json").write_text(
        json.dumps({"_data_files": [{"filename": name} for name in names], "_format_type": None})
    )
    (path / "dataset_info.json").write_text("{}")
    return path


def zarr(path: Path, x: np.ndarray, version: int, chunk: int = 7) -> Path:
    """As zarr writes without compression: chunks of whole rows, the last one filled up."""
    path.mkdir(parents=True)
    shape, chunks = list(x.shape), [chunk, *x.shape[1:]]
    rest = [0] * (x.ndim - 1)
    if version == 2:
        meta = {
            "zarr_format": 2, "shape": shape, "chunks": chunks, "dtype": x.dtype.str, "order": "C",
            "fill_value": 0, "compressor": None, "filters": None,
        }  # fmt: skip
        (path / ".zarray").write_text(json.dumps(meta))
    else:
        meta = {
            "zarr_format": 3, "node_type": "array", "shape": shape, "data_type": x.dtype.name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
            "fill_value": 0, "attributes": {},
        }  # fmt: skip
        (path / "zarr.json").write_text(json.dumps(meta))
    for i in range(-(-len(x) // chunk)):
        rows = x[i * chunk : (i + 1) * chunk]
        rows = np.concatenate([rows, np.zeros((chunk - len(rows), *x.shape[1:]), x.dtype)])
        numbers = [str(n) for n in (i, *rest)]
        name = ".".join(numbers) if version == 2 else "/".join(["c", *numbers])
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(rows.tobytes())
    return path


def zarr_group(path: Path, **arrays: np.ndarray) -> Path:
    """A group of version 3."""
    path.mkdir(parents=True)
    for name, x in arrays.items():
        zarr(path / name, x, 3)
    (path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    return path


def signals(folder: Path, x: np.ndarray, y: np.ndarray) -> dict[str, str]:
    """Writes float32 samples [N, D] and labels [N]; returns the name of each data set."""
    names = [f"c{i}" for i in range(x.shape[1])]
    table = pa.table([*x.T, y.astype(np.int64)], names=[*names, "label"])
    lists = pa.table({"x": list(x), "y": y})
    np.save(folder / "x.npy", x)
    np.savez(folder / "x.npz", x=x, y=y)
    csv.write_csv(table, folder / "x.csv")
    parquet.write_table(table, folder / "x.parquet", row_group_size=11)
    feather.write_feather(table, folder / "x.feather", compression="lz4", chunksize=9)
    with pa.ipc.new_file(str(folder / "x.arrow"), table.schema) as writer:
        writer.write_table(table)
    parquet.write_table(lists, folder / "lists.parquet")
    hugging_face(folder / "saved", table)
    hugging_face(folder / "shards", lists, files=3)
    zarr(folder / "two.zarr", x, 2)
    zarr(folder / "three.zarr", x, 3)
    zarr_group(folder / "group.zarr", x=x, y=y)
    return {
        name: str(folder / name)
        for name in (
            "x.npy", "x.npz", "x.csv", "x.parquet", "x.feather", "x.arrow", "lists.parquet",
            "saved", "shards", "two.zarr", "three.zarr", "group.zarr",
        )
    }  # fmt: skip


def encoded(image: np.ndarray, kind: str = "PNG") -> bytes:
    """Returns an image [H, W], or [H, W, C] of 1 or 3 channels, as a file."""
    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image).save(file, kind)
    return file.getvalue()


def put(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def zipped(path: Path, files: dict[str, bytes] | Iterable[tuple[str, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items() if isinstance(files, dict) else files:
            archive.writestr(name, content)
    return path


def images(folder: Path, x: np.ndarray, y: np.ndarray) -> dict[str, str]:
    """Writes uint8 images [N, H, W, C]; returns the name of each data set."""
    files = {f"{i:04}.png": encoded(image) for i, image in enumerate(x)}
    raw = list(files.values())
    structs = [{"bytes": image, "path": None} for image in raw]
    np.save(folder / "x.npy", x)
    put(folder / "pictures", files)
    zipped(folder / "pictures.zip", {f"top/{name}": image for name, image in files.items()})
    parquet.write_table(pa.table({"image": raw, "label": y}), folder / "x.parquet")
    hugging_face(folder / "saved", pa.table({"image": structs, "label": y}), files=2)
    zarr(folder / "x.zarr", x, 3)
    return {
        name: str(folder / name)
        for name in ("x.npy", "pictures", "pictures.zip", "x.parquet", "saved", "x.zarr")
    }
