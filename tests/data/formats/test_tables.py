"""Tables of Arrow and data sets of Hugging Face: columns, splits, indices, arrays, labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from msae_jax import data
from msae_jax.data.options import named
from msae_jax.errors import InputError
from tests.data.formats.writers import encoded, hugging_face, zarr, zarr_group

RNG = np.random.default_rng(0)
X = RNG.random((12, 3)).astype(np.float32)
Y = np.arange(12) % 2


def written(path: Path, **columns: object) -> str:
    parquet.write_table(pa.table(columns), path)
    return str(path)


def table(path: Path, **columns: object) -> str:
    return written(path, **dict(zip("abc", X.T, strict=True)), **columns)


def test_columns_and_labels_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kinds = pa.array(["dog" if y else "cat" for y in Y]).dictionary_encode()
    path = table(tmp_path / "x.parquet", kind=kinds)
    with pytest.raises(InputError, match=r"column 'kind' holds text, .*: --label kind takes it"):
        data.load(path)
    dataset = data.load(named(path, label="kind"))
    held_out = np.sort(np.random.RandomState(0).permutation(12)[:1])
    np.testing.assert_array_equal(dataset.test.y, Y[held_out])
    assert dataset.classes == ("cat", "dog")
    assert "the labels of column 'kind' are numbered: cat 0, dog 1" in caplog.messages[-1]
    np.testing.assert_array_equal(data.load_array(named(path, columns="c,a")), X[:, [2, 0]])
    np.testing.assert_array_equal(data.load_array(named(path, columns="b:c")), X[:, 1:])


def test_numbers_stand_for_the_classes_that_datasets_keeps(tmp_path: Path) -> None:
    """As `datasets` writes a `ClassLabel`; damaged metadata are none."""
    columns = pa.table({"a": X[:, 0], "b": X[:, 1], "label": Y})
    kept = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    for name, text in (("whole", json.dumps(kept)), ("damaged", '{"info": {"features": [')):
        known = columns.replace_schema_metadata({"huggingface": text})
        parquet.write_table(known, tmp_path / f"{name}.parquet")
    assert data.load(tmp_path / "whole.parquet").classes == ("cat", "dog")
    damaged = data.load(tmp_path / "damaged.parquet")
    assert damaged.classes is None
    assert damaged.train.x.shape == (11, 2)


def test_a_column_that_is_called_label_is_guessed_aloud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = data.load(table(tmp_path / "x.parquet", label=Y))
    assert dataset.sample_shape == (3,)
    assert dataset.train.y is not None
    assert "column 'label' holds labels and is no feature (--columns)" in caplog.messages[-1]
    fractions = data.load(table(tmp_path / "y.parquet", label=Y / 2))
    assert fractions.sample_shape == (4,)


def test_the_index_of_pandas_is_no_feature(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """pandas names its index in the metadata of the file."""
    for name, columns, noted in (
        ("__index_level_0__", ["__index_level_0__"], "is an index and is left out"),
        ("Unnamed: 0", [], "is an index and is left out"),
        ("id", [], "counts the rows and is left out"),
    ):
        content = pa.table({name: np.arange(12), **dict(zip("abc", X.T, strict=True))})
        metadata = {"pandas": json.dumps({"index_columns": columns, "columns": []})}
        parquet.write_table(content.replace_schema_metadata(metadata), tmp_path / "x.parquet")
        np.testing.assert_array_equal(data.load_array(tmp_path / "x.parquet"), X)
        assert f"column {name!r} {noted}" in caplog.messages[-1]
        assert data.load_array(f"{tmp_path}/x.parquet?columns=:").shape == (12, 4)
    kept = written(tmp_path / "y.parquet", n=np.arange(12), a=X[:, 0])
    assert data.load_array(kept).shape == (12, 2)
    assert "column 'n' counts the rows and is a feature" in caplog.messages[-1]


def test_arrays_in_columns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = RNG.random((12, 3, 5, 6)).astype(np.float32)
    nested = pa.array(images.tolist(), pa.list_(pa.list_(pa.list_(pa.float32(), 6))))
    path = written(tmp_path / "x.parquet", image=nested, label=Y, name=["n"] * 12)
    with pytest.raises(InputError, match=r"looks like images .N, C, H, W.: --layout channels-fi"):
        data.load(path)
    dataset = data.load(named(path, layout="channels-first"))
    assert dataset.sample_shape == (5, 6, 3)
    np.testing.assert_array_equal(dataset.test.x[0], np.moveaxis(images, 1, -1)[[6]][0])
    assert "beside 'image' are left out: name (--columns)" in caplog.messages[-1]
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(images))
    path = written(tmp_path / "y.parquet", image=tensors)
    np.testing.assert_array_equal(data.load_array(named(path, layout="channels-last")), images)


@pytest.mark.parametrize("fraction", [0.0, 0.25])
def test_unscaled_floats_are_a_question(tmp_path: Path, fraction: float) -> None:
    values = RNG.integers(0, 255, (12, 4, 4)).astype(np.float32) + np.float32(fraction)
    zarr(tmp_path / "x.zarr", values, 2)
    with pytest.raises(InputError, match=r"holds .* as float32: --scale 255 takes them for int"):
        data.load(tmp_path / "x.zarr")
    scaled = data.load_array(f"{tmp_path}/x.zarr?scale=255")
    assert scaled.dtype == (np.float32 if fraction else np.uint8)
    shown = scaled if fraction else scaled[..., 0] / np.float32(255)
    np.testing.assert_array_equal(shown, values / np.float32(255))


def test_splits_of_hugging_face(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Text is numbered alike in both, though the test split lacks a class."""
    path = tmp_path / "saved"
    parts = {"train": ["b", "a", "c"], "validation": ["c", "b"], "extra": ["a"]}
    for part, kinds in parts.items():
        values = pa.array([[len(part), i] for i in range(len(kinds))], pa.list_(pa.float64()))
        hugging_face(path / part, pa.table({"x": values, "y": kinds}))
    (path / "dataset_dict.json").write_text(json.dumps({"splits": [*parts]}))
    dataset = data.load(path)
    np.testing.assert_array_equal(dataset.train.x, [[5, 0], [5, 1], [5, 2]])
    np.testing.assert_array_equal(dataset.train.y, [1, 0, 2])
    np.testing.assert_array_equal(dataset.test.x, [[10, 0], [10, 1]])
    np.testing.assert_array_equal(dataset.test.y, [2, 1])
    assert f"{path}: left out: extra" in caplog.messages
    np.testing.assert_array_equal(data.load_array(path / "train"), dataset.train.x)


def test_parts_of_a_table_in_a_folder(tmp_path: Path) -> None:
    """As the hub of Hugging Face keeps them, and as Spark writes them."""
    (tmp_path / "hub" / "data").mkdir(parents=True)
    for name, rows in (("train-00000", X[:4]), ("train-00001", X[4:9]), ("test-00000", X[9:])):
        written(tmp_path / "hub" / "data" / f"{name}-of-00002.parquet", a=rows[:, 0], b=rows[:, 1])
    dataset = data.load(tmp_path / "hub")
    np.testing.assert_array_equal(dataset.train.x, X[:9, :2])
    np.testing.assert_array_equal(dataset.test.x, X[9:, :2])
    (tmp_path / "spark.parquet").mkdir()
    (tmp_path / "spark.parquet" / "_SUCCESS").touch()
    written(tmp_path / "spark.parquet" / "part-00000.snappy.parquet", a=X[:5, 0])
    written(tmp_path / "spark.parquet" / "part-00001.snappy.parquet", a=X[5:, 0])
    np.testing.assert_array_equal(data.load_array(tmp_path / "spark.parquet"), X[:, :1])


def test_images_in_columns_take_a_size(tmp_path: Path) -> None:
    sizes = [(4, 4), (8, 8)]
    raw = [encoded(np.full((*size, 3), 40 * i, np.uint8)) for i, size in enumerate(sizes)]
    path = written(tmp_path / "x.parquet", image=[{"bytes": each, "path": "a.png"} for each in raw])
    with pytest.raises(InputError, match=r"sample 1: has 8 x 8 pixels, .* 4 x 4: --image-size 4"):
        data.load(path)
    x = data.load_array(named(path, image_size="6x2"))
    assert x.shape == (2, 6, 2, 3)
    assert x[1].tolist() == np.full((6, 2, 3), 40).tolist()


def test_a_table_with_times_is_a_series(tmp_path: Path) -> None:
    """Unless the columns of features are named."""
    hours = np.datetime64("2024-01-01T00", "h") + np.arange(40)
    values = np.sin(np.arange(40.0))
    path = written(tmp_path / "x.parquet", time=hours.astype("datetime64[us]"), load=values)
    dataset = data.load(named(path, window="8"))
    assert dataset.series is not None
    assert data.load(path).series is not None
    features = data.load(named(path, columns="load"))
    assert features.series is None
    assert features.sample_shape == (1,)
    with pytest.raises(InputError, match="--columns is for samples; --channels are those of a ser"):
        data.load(named(path, columns="load", window="8"))


def test_a_zarr_array_of_one_axis_is_a_series(tmp_path: Path) -> None:
    path = zarr(tmp_path / "x.zarr", np.sin(np.arange(60.0)).astype(np.float32), 3)
    assert data.load(f"{path}?window=8").sample_shape == (8,)
    with pytest.raises(InputError, match=r"has shape \(60,\), expected \[samples"):
        data.load(path)


def test_splits_of_a_zarr_group(tmp_path: Path) -> None:
    path = zarr_group(tmp_path / "x", train=X[:8], test=X[8:], y_train=Y[:8], y_test=Y[8:])
    dataset = data.load(path)
    np.testing.assert_array_equal(dataset.train.x, X[:8])
    np.testing.assert_array_equal(dataset.test.y, Y[8:])
