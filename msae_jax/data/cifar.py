"""`cifar10`: the official files (Krizhevsky, 2009), through TFDS and without TensorFlow.

Both of the official archives are read, `cifar-10-binary.tar.gz` and `cifar-10-python.tar.gz`, and
the folders that they unpack to. `checksums.tsv` has the SHA-256 of the archives, which TFDS's
download manager enforces, `BATCHES` the MD5 of the unpacked pickles. For the unpacked binary files
none are published: their sizes and their number of images a class are checked.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.checksums import compute_url_info
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

from msae_jax.data.dataset import Dataset
from msae_jax.data.idx import unreachable
from msae_jax.data.options import expanded, note
from msae_jax.data.prepare import data_root, is_prepared, opened, prepared
from msae_jax.data.records import Records
from msae_jax.errors import InputError

URL = "https://www.cs.toronto.edu/~kriz/"
ARCHIVES = ("cifar-10-binary.tar.gz", "cifar-10-python.tar.gz")
FOLDERS = ("cifar-10-batches-bin", "cifar-10-batches-py")
BATCHES = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
"""The files of 10,000 images each, with the MD5 of their pickles as torchvision checks it."""

SIZE = 10_000
CLASSES = 10
PIXELS = 3 * 32 * 32
LAYOUTS = (".", "cifar10", "cifar-10")

Images = tuple[np.ndarray, np.ndarray]
"""Images, uint8 [N, 32, 32, 3], and their classes [N]."""


class MsaeCifar10(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """60,000 images, uint8 [32, 32, 3], in the order of the official files."""

    VERSION = tfds.core.Version("1.0.0")
    found: Path | None = None  # a local archive or folder, if nothing is to be downloaded

    def _info(self) -> tfds.core.DatasetInfo:
        image = tfds.features.Tensor(
            shape=(32, 32, 3), dtype=np.uint8, encoding=tfds.features.Encoding.BYTES
        )
        label = tfds.features.ClassLabel(num_classes=CLASSES)
        return tfds.core.DatasetInfo(
            builder=self,
            disable_shuffling=True,
            features=tfds.features.FeaturesDict({"image": image, "label": label}),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        path = self.found
        if path is None or path.name in ARCHIVES:
            name = ARCHIVES[0] if path is None else path.name
            path = Path(dl_manager.download(URL + name))
        train, test = read(path)
        return {"train": self._generate_examples(*train), "test": self._generate_examples(*test)}

    def _generate_examples(self, images: np.ndarray, labels: np.ndarray) -> Iterator:
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield index, {"image": image, "label": int(label)}


def load(*, data_dir: str | Path | None = None, streaming: bool = False) -> Dataset:
    """Returns 50,000 training and 10,000 test images, uint8 [N, 32, 32, 3], and labels 0..9.

    The first call prepares them, from `data_dir`, else MSAE_DATA_DIR, else the network.

    Raises: InputError if there are neither files nor a network, or a file is not the official one.
    """
    found: Path | None = None

    def make() -> MsaeCifar10:
        builder = MsaeCifar10(data_dir=data_root())
        builder.found = found
        return builder

    builder = opened(make, "cifar10")
    if not is_prepared(builder):
        found = find(data_dir)
        config = tfds.download.DownloadConfig(
            manual_dir=found.parent if found else None,
            try_download_gcs=False,
            force_checksums_validation=True,
        )
        try:
            builder = prepared(make, "cifar10", config)
        except NonMatchingChecksumError as error:
            where = found and _mismatch(builder, found)
            raise InputError(where or " ".join(str(error).split())) from error
    train, test = (Records(builder, part).split(streaming=streaming) for part in ("train", "test"))
    return Dataset("cifar10", train, test)


def find(data_dir: str | Path | None) -> Path | None:
    """Returns a local archive or folder of CIFAR-10; None means: download the archive.

    Raises: InputError if `data_dir` is given and has neither, or there is no network either.
    """
    root = data_dir or os.environ.get("MSAE_DATA_DIR")
    looked = [expanded(root) / layout for layout in LAYOUTS] if root else []
    for folder in looked:
        for name in ARCHIVES:
            if (folder / name).is_file():
                return folder / name
        for name in FOLDERS:
            if (folder / name).is_dir():
                return folder / name
        if folder.name in FOLDERS:
            return folder
    if data_dir is None:
        reason = unreachable(URL + ARCHIVES[0])
        if reason is None:
            return None
        problem = f"cifar10 cannot be downloaded ({reason})"
    else:
        problem = f"cifar10 is not in {data_dir}"
    places = f" (looked in {', '.join(map(str, looked))})" if looked else ""
    raise InputError(
        f"{problem}{places}: put {' or '.join(ARCHIVES)}, packed or unpacked, into a folder and "
        "name it with --data-dir or the environment variable MSAE_DATA_DIR; of pictures in folders "
        "or a zip file, give their path as --data"
    )


def read(path: Path) -> tuple[Images, Images]:
    """Returns the training and the test images of an archive or of what it unpacks to.

    Raises: InputError if a file is missing or is not the official one.
    """
    contents = _members(path) if path.is_file() else _files(path)
    parts = [_decoded(path / name, content) for name, content in contents.items()]
    images, labels = (np.concatenate(each) for each in zip(*parts, strict=True))
    cut = len(images) - SIZE
    train, test = (images[:cut], labels[:cut]), (images[cut:], labels[cut:])
    for (_, y), count in ((train, cut // CLASSES), (test, SIZE // CLASSES)):
        got = np.bincount(y, minlength=CLASSES)
        if got.tolist() != [count] * CLASSES:
            raise InputError(
                f"{path}: the classes have {got.tolist()} images, expected {count} each: these are "
                "not the official files"
            )
    return train, test


def _members(archive: Path) -> dict[str, bytes]:
    """Returns the contents of the batches in a `.tar.gz`, none of which is unpacked to disk."""
    try:
        with tarfile.open(archive, "r:gz") as file:
            names = {Path(member.name).stem: member for member in file if member.isfile()}
            missing = [name for name in BATCHES if name not in names]
            if missing:
                raise InputError(f"{archive}: it lacks {', '.join(missing)}")
            readers = {name: file.extractfile(names[name]) for name in BATCHES}
            return {name: reader.read() for name, reader in readers.items() if reader}
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InputError(f"{archive}: not an archive of CIFAR-10: {error}") from error


def _files(folder: Path) -> dict[str, bytes]:
    binary = (folder / "test_batch.bin").is_file()
    if binary:
        note(f"{folder}: no checksums of these files are published; sizes and classes are checked")
    contents = {}
    for name, expected in BATCHES.items():
        path = folder / (f"{name}.bin" if binary else name)
        if not path.is_file():
            raise InputError(f"{folder} lacks {path.name}")
        contents[name] = path.read_bytes()
        got = hashlib.md5(contents[name], usedforsecurity=False).hexdigest()
        if not binary and got != expected:
            raise InputError(
                f"{path}: MD5 is {got}, the official file's is {expected}: it is damaged"
            )
    return contents


def _decoded(path: Path, content: bytes) -> Images:
    """Returns the images of one file, which is a pickle or rows of a class and three planes."""
    if len(content) == SIZE * (1 + PIXELS):
        rows = np.frombuffer(content, np.uint8).reshape(SIZE, 1 + PIXELS)
        labels, pixels = rows[:, 0], rows[:, 1:]
    else:
        try:
            batch = _Arrays(io.BytesIO(content), encoding="bytes").load()
            pixels, labels = np.asarray(batch[b"data"]), np.asarray(batch[b"labels"])
        except Exception as error:  # whatever damage leads a pickle to
            raise InputError(
                f"{path}: {len(content)} bytes that are no batch of CIFAR-10: {error}"
            ) from error
    if (pixels.dtype, pixels.shape, labels.shape) != (np.uint8, (SIZE, PIXELS), (SIZE,)):
        raise InputError(
            f"{path}: {pixels.dtype} {list(pixels.shape)} with {len(labels)} classes, expected "
            f"uint8 [{SIZE}, {PIXELS}]"
        )
    if labels.max() >= CLASSES:
        raise InputError(f"{path}: a class is {labels.max()}, expected 0 to {CLASSES - 1}")
    images = pixels.reshape(SIZE, 3, 32, 32).transpose(0, 2, 3, 1)
    return images, labels.astype(np.int32)


class _Arrays(pickle.Unpickler):
    """Reads a pickle of dictionaries, lists and NumPy arrays, and imports nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return np.empty(0).__reduce__()[0]  # wherever this version of NumPy has it
        raise pickle.UnpicklingError(f"it wants to run {module}.{name}")


def _mismatch(builder: MsaeCifar10, path: Path) -> str | None:
    """Returns why a local archive is not the official one; None if it is."""
    expected = builder.url_infos[URL + path.name].checksum
    got = compute_url_info(path).checksum
    if got == expected:
        return None
    return (
        f"{path}: SHA-256 is {got}, the official file's is {expected}: it is damaged or another "
        f"data set's; the official one is {URL}{path.name}"
    )
