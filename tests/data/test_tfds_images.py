"""`tfds:NAME` over small data sets of PNG files, which TFDS stores without TensorFlow."""

from __future__ import annotations

import importlib.util
import io
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from msae_jax import data
from msae_jax.data import records
from msae_jax.errors import InputError


def picture(seed: int, shape: tuple[int, ...] = (6, 5, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def png(image: np.ndarray) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    file.seek(0)
    return file


class TinyPictures(tfds.core.GeneratorBasedBuilder):
    """Two splits, labels, and a feature that nobody asked for; shuffled by TFDS."""

    VERSION = tfds.core.Version("1.0.0")
    shape: tuple[int | None, ...] = (6, 5, 3)
    shuffled = True
    splits: ClassVar = {"train": 7, "test": 3}

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(shape=self.shape),
            "label": tfds.features.ClassLabel(names=[f"kind {i}" for i in range(100)]),
            "caption": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=not self.shuffled,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        return {split: self._generate_examples(n) for split, n in self.splits.items()}

    def _generate_examples(self, n: int) -> Iterator:
        for seed in range(n):
            image = png(self.picture(seed))
            yield seed, {"image": image, "label": seed, "caption": "a picture"}

    def picture(self, seed: int) -> np.ndarray:
        return picture(seed)


class ValidatedPictures(TinyPictures):
    splits: ClassVar = {"train": 4, "validation": 2}


class UntestedPictures(TinyPictures):
    splits: ClassVar = {"train": 4, "extra": 2}


class MixedPictures(TinyPictures):
    shape = (None, None, 3)
    shuffled = False  # so that both splits begin with the same shape

    def picture(self, seed: int) -> np.ndarray:
        return picture(seed, (6, 5 + seed % 2, 3))


class UnshapedPictures(TinyPictures):
    shape = (None, None, 3)


class FloatFields(TinyPictures):
    """No picture files: a float64 field stored as plain numbers, and no labels."""

    def _info(self) -> tfds.core.DatasetInfo:
        field = tfds.features.Tensor(shape=(2, 2, 1), dtype=np.float64)
        features = tfds.features.FeaturesDict({"image": field})
        return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

    def _generate_examples(self, n: int) -> Iterator:
        for seed in range(n):
            yield seed, {"image": np.full((2, 2, 1), seed + 0.5)}


class PlainBytes(TinyPictures):
    """A field stored as the bytes of its array."""

    dtype: ClassVar = np.uint8

    def _info(self) -> tfds.core.DatasetInfo:
        encoding = tfds.features.Encoding.BYTES
        field = tfds.features.Tensor(shape=(6, 5, 3), dtype=self.dtype, encoding=encoding)
        features = tfds.features.FeaturesDict({"image": field})
        return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

    def _generate_examples(self, n: int) -> Iterator:
        for seed in range(n):
            yield seed, {"image": picture(seed).astype(self.dtype)}


class PlainFloats(PlainBytes):
    dtype: ClassVar = np.float32


class PlainDoubles(PlainBytes):
    dtype: ClassVar = np.float64


class Sounds(TinyPictures):
    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(
            {"audio": tfds.features.Tensor(shape=(), dtype=np.int64)}
        )
        return tfds.core.DatasetInfo(builder=self, features=features)


class NeedsTensorflow(TinyPictures):
    def picture(self, seed: int) -> np.ndarray:
        raise ModuleNotFoundError("No module named 'tensorflow'")


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("chunk", [2, 1024])
def test_images_and_labels_belong_together(
    streaming: bool,
    chunk: int,
    capfd: pytest.CaptureFixture,
    tfds_root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(records, "CHUNK", chunk)
    dataset = data.load("tfds:tiny_pictures", streaming=streaming)
    assert dataset.classes is not None
    assert dataset.classes[99] == "kind 99"
    assert isinstance(dataset.train.x, np.ndarray) == (not streaming)
    for split, n in [(dataset.train, 7), (dataset.test, 3)]:
        assert split.x.shape == (n, 6, 5, 3)
        assert split.x.dtype == np.uint8
        assert split.y is not None
        assert sorted(split.y) == list(range(n))
        for i, label in enumerate(split.y):
            np.testing.assert_array_equal(split.x[i], picture(label))
    out, err = capfd.readouterr()
    assert out == ""
    assert err in ("", f"preparing tfds:tiny_pictures in {tfds_root} ...\n")


def test_a_streaming_source_reads_in_the_order_asked() -> None:
    split = data.load("tfds:tiny_pictures", streaming=True).train
    assert split.y is not None
    assert isinstance(split.x, data.Source)
    batch = split.x.__getitems__(np.array([5, 0, 5]))
    expected = [picture(split.y[i]) for i in (5, 0, 5)]
    np.testing.assert_array_equal(batch, expected)
    assert split.x.__getitems__([]).shape == (0, 6, 5, 3)
    with pytest.raises(IndexError, match="no sample 7 among 7"):
        split.x[7]
    with pytest.raises(IndexError, match="no sample -1"):
        split.x[-1]


def test_validation_stands_in_for_test() -> None:
    assert len(data.load("tfds:validated_pictures").test.x) == 2


def test_a_shape_that_tfds_leaves_open_is_taken_from_the_images() -> None:
    assert data.load("tfds:unshaped_pictures").sample_shape == (6, 5, 3)


def test_other_numbers_become_float32_and_labels_may_lack() -> None:
    dataset = data.load("tfds:float_fields")
    assert dataset.train.x.dtype == np.float32
    assert dataset.train.y is None
    np.testing.assert_array_equal(dataset.train.x[:, 0, 0, 0], np.arange(7) + 0.5)


@pytest.mark.parametrize("name", ["plain_bytes", "plain_floats", "plain_doubles"])
@pytest.mark.parametrize("chunk", [2, 1024])
def test_arrays_stored_as_they_are(monkeypatch: pytest.MonkeyPatch, name: str, chunk: int) -> None:
    """Only those of a dtype that is not ours are decoded one by one."""
    decoded = []
    image = records.Records._image

    def counted(*args: Any) -> np.ndarray:
        decoded.append(args)
        return image(*args)

    monkeypatch.setattr(records.Records, "_image", counted)
    monkeypatch.setattr(records, "CHUNK", chunk)
    dataset = data.load(f"tfds:{name}")
    splits = 2  # the first of each tells the shape
    assert len(decoded) == (splits + 7 + 3 if name == "plain_doubles" else splits)
    assert dataset.train.x.dtype == (np.uint8 if name == "plain_bytes" else np.float32)
    for split, n in [(dataset.train, 7), (dataset.test, 3)]:
        np.testing.assert_array_equal(split.x, [picture(i) for i in range(n)])


def test_images_of_several_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="all must share one shape"):
        data.load("tfds:mixed_pictures")
    streamed = data.load("tfds:mixed_pictures", streaming=True)  # here it is found out when read
    with pytest.raises(InputError, match="all must share one shape"):
        list(data.batches(streamed.train.x, np.arange(7), 2))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tfds:untested_pictures", "has the splits extra, train; expected train, and test or val"),
        ("tfds:sounds", r"no feature 'image' \(it has audio\)"),
        ("tfds:cifar1O", "unknown TFDS data set 'cifar1O'. Did you mean 'tfds:cifar10'?"),
        ("tfds:tiny_pictures/large", "large"),
        ("tfds:", "tfds:"),
    ],
)
def test_unsuitable_data_sets(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        data.load(name)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is not None, reason="TensorFlow is installed"
)
@pytest.mark.parametrize("name", ["tfds:cifar10", "tfds:needs_tensorflow"])
def test_missing_tensorflow_is_named_with_its_extra(name: str) -> None:
    with pytest.raises(InputError, match=r"needs TensorFlow.*pip install 'msae-jax\[tensorflow\]'"):
        data.load(name)


def test_data_prepared_for_tensorflow_say_so(tmp_path: Path, monkeypatch: Any) -> None:
    data.load("tfds:tiny_pictures")
    builder = tfds.builder("tiny_pictures", data_dir=tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    data.load("tfds:tiny_pictures")
    info = Path(builder.data_dir) / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(InputError, match="as tfrecord, expected array_record: delete"):
        data.load("tfds:tiny_pictures")


def test_a_prepared_folder_names_no_code_that_runs(
    fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder without a builder in this process: TFDS rebuilds its features from the files."""
    data.load("tfds:tiny_pictures")
    folder = fresh / "stranger_pictures" / "1.0.0"
    shutil.copytree(fresh / "tiny_pictures" / "1.0.0", folder)
    for path in folder.glob("tiny_pictures-*"):
        path.rename(folder / path.name.replace("tiny", "stranger"))
    info = folder / "dataset_info.json"
    info.write_text(info.read_text().replace("tiny_pictures", "stranger_pictures"))
    assert data.load("tfds:stranger_pictures").sample_shape == (6, 5, 3)
    (tmp_path / "hostile_features.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    features = folder / "features.json"
    honest = features.read_text()
    classes = set(re.findall(r"tensorflow_datasets[.\w]+_feature\.\w+", honest))
    assert len(classes) == 3  # the image, the label, the caption
    for ours in classes:
        features.write_text(honest.replace(ours, "hostile_features.Image"))
        with pytest.raises(InputError, match="names the class 'hostile_feat") as caught:
            data.load("tfds:stranger_pictures")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()
    assert "hostile_features" not in sys.modules
    with pytest.raises(ValueError, match="hostile_features"):  # TFDS itself does as it did
        tfds.features.FeatureConnector.cls_from_name("hostile_features.Image")
    assert (tmp_path / "ran").exists()


def test_community_namespaces_are_refused() -> None:
    with pytest.raises(InputError, match="community namespace; expected tfds:NAME"):
        data.load("tfds:huggingface:mnist")


@pytest.mark.parametrize("claimed", ["5", "9"])
def test_a_prepared_folder_that_claims_another_number_of_records_is_refused(
    tfds_root: Path, claimed: str
) -> None:
    """Without a word, the last ones would be left out."""
    data.load("tfds:tiny_pictures")
    record = tfds_root / "tiny_pictures" / "1.0.0" / "dataset_info.json"
    text = record.read_text()
    assert '"7"' in text
    record.write_text(text.replace('"7"', f'"{claimed}"'))
    try:
        with pytest.raises(InputError, match=r"prepared files are damaged.*\[7\] records"):
            data.load("tfds:tiny_pictures")
    finally:
        record.write_text(text)
