"""Random access to the images of a prepared TFDS split, without TensorFlow."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from tensorflow_datasets.proto import tf_example_pb2

from msae_jax.data.dataset import Split, empty_aligned
from msae_jax.data.prepare import quiet
from msae_jax.errors import InputError

CHUNK = 1024  # records in memory at a time while a whole split is read


class Records:
    """The feature `image` of one split, read from its array_record files as it is asked for.

    A `Source`: shape (N, H, W, C); uint8, or float32 unscaled if TFDS has another dtype.

    Raises: InputError if the files are damaged, or an image differs in shape from the first.
    """

    def __init__(self, builder: tfds.core.DatasetBuilder, split: str) -> None:
        self._where = f"{builder.name} ({split}) in {builder.data_dir}"
        self._features = builder.info.features
        with _readable(self._where):
            raw = tfds.decode.DeserializeMethod.RAW_BYTES
            self._records = builder.as_data_source(split, deserialize_method=raw)
            known = builder.info.splits[split]
            expected, held = known.num_examples, list(map(_length, known.filepaths))
            if held != known.shard_lengths:  # else what is beyond would not be missed
                raise OSError(f"{held} records in the files, expected {known.shard_lengths}")
            if len(self._records) != expected:
                raise OSError(f"{len(self._records)} records, expected {expected}")
            with quiet():  # the first decoding may recommend a faster decoder
                first = self._image(self._records[0], 0, None) if expected else np.empty(0)
            stored = self._example(self._records[0])["image"].bytes_list.value if expected else ()
        self.shape = (expected, *first.shape)
        self.dtype = np.dtype(np.uint8 if first.dtype == np.uint8 else np.float32)
        # the size in bytes of an image that is stored raw; None if images have to be decoded
        plain = first.dtype == self.dtype and [first.tobytes()] == [*stored]
        self._bytes = first.nbytes if plain else None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> np.ndarray:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        out = np.empty((len(indices), *self.shape[1:]), self.dtype)
        for row, index, record in zip(out, indices, self._read(indices), strict=True):
            row[...] = self._image(record, int(index), self.shape[1:])
        return out

    def split(self, *, streaming: bool) -> Split:
        """Returns the split with its labels: the images in memory, or, streaming, this source."""
        labelled = "label" in self._features and self._features["label"].shape == ()
        labelled = labelled and np.issubdtype(self._features["label"].np_dtype, np.integer)
        y = np.empty(len(self), np.int32) if labelled else None
        x = None if streaming else empty_aligned(self.shape, self.dtype)
        for begin in range(0, len(self), CHUNK) if labelled or not streaming else ():
            rows = range(begin, min(begin + CHUNK, len(self)))
            plain, labels = [], []
            for index, record in zip(rows, self._read(rows), strict=True):
                example = self._example(record)
                if y is not None:
                    labels.append(example["label"].int64_list.value[0])
                if x is None:
                    continue
                if self._bytes is None:
                    x[index] = self._image(record, index, self.shape[1:], example)
                else:
                    plain.append(self._plain(record, index, example))
            if x is not None and plain:
                pixels = np.frombuffer(b"".join(plain), self.dtype)
                x[rows.start : rows.stop] = pixels.reshape(len(rows), *self.shape[1:])
            if y is not None:
                y[rows.start : rows.stop] = labels
        return Split(self if x is None else x, y)

    def _plain(self, record: bytes, index: int, example: Any) -> bytes:
        """Returns the bytes of an image that is not encoded, without making an array of each."""
        stored = example["image"].bytes_list.value[0]
        if len(stored) == self._bytes:
            return stored
        return self._image(record, index, self.shape[1:], example).tobytes()  # or its error

    def _read(self, indices: Sequence[int] | np.ndarray) -> list[bytes]:
        keys = [int(index) for index in indices]
        for key in keys:
            if not 0 <= key < len(self):
                raise IndexError(f"{self._where}: no sample {key} among {len(self)}")
        with _readable(self._where):
            return self._records.__getitems__(keys)

    def _image(
        self, record: bytes, index: int, shape: tuple[int, ...] | None, example: Any = None
    ) -> np.ndarray:
        """Decodes one record, parsed as `example`; TFDS's own decoding takes twice as long."""
        value = (example or self._example(record))["image"]
        try:
            if value.HasField("bytes_list"):
                image = self._features["image"].decode_example_np(value.bytes_list.value[0])
            else:
                image = self._features.deserialize_example_np(record)["image"]
        except (ValueError, OSError, ImportError) as error:  # a format that Pillow does not read
            raise InputError(f"{self._where}: image {index} cannot be decoded: {error}") from error
        if shape is not None and image.shape != shape:
            raise InputError(
                f"{self._where}: image {index} has shape {image.shape}, the first has {shape}: "
                "all must share one shape"
            )
        return image

    @staticmethod
    def _example(record: bytes) -> dict:
        return tf_example_pb2.Example.FromString(record).features.feature


def _length(path: Any) -> int:
    reader = array_record_module.ArrayRecordReader(str(path))
    try:
        return int(reader.num_records())
    finally:
        reader.close()


@contextlib.contextmanager
def _readable(where: str) -> Iterator[None]:
    """Turns the errors of unreadable record files into one that says what to do."""
    try:
        yield
    except (OSError, RuntimeError, ValueError, IndexError) as error:
        if isinstance(error, InputError):
            raise
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{where}: the prepared files are damaged; delete that folder, and they are prepared "
            f"again ({reason})"
        ) from error
