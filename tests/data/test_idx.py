"""MNIST and Fashion-MNIST: contents, folders, checksums, with and without a network."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from msae_jax import data
from msae_jax.data import idx
from msae_jax.errors import InputError

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def pixels(path: Path) -> np.ndarray:
    return np.frombuffer(gzip.decompress(path.read_bytes())[16:], np.uint8)


def labels(path: Path) -> np.ndarray:
    return np.frombuffer(gzip.decompress(path.read_bytes())[8:], np.uint8)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for scheme in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(scheme, "http://127.0.0.1:9")  # nobody listens there


def test_mnist_is_the_official_files_in_their_order(mnist: data.Dataset, official: Path) -> None:
    for split, part, n in [(mnist.train, "train", 60000), (mnist.test, "t10k", 10000)]:
        assert split.x.shape == (n, 28, 28, 1)
        assert split.x.dtype == np.uint8
        expected = pixels(official / "mnist" / f"{part}-images-idx3-ubyte.gz")
        np.testing.assert_array_equal(np.ravel(split.x), expected)
        assert split.y is not None
        assert split.y.dtype == np.int32
        expected = labels(official / "mnist" / f"{part}-labels-idx1-ubyte.gz")
        np.testing.assert_array_equal(split.y, expected)


def test_prepared_data_need_no_files_and_make_no_noise(
    mnist: data.Dataset, capfd: pytest.CaptureFixture, offline: None
) -> None:
    again = data.load("mnist")
    np.testing.assert_array_equal(again.test.x, mnist.test.x)
    assert capfd.readouterr() == ("", "")


# Folders


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_every_layout_is_found(tmp_path: Path, name: str, suffix: str) -> None:
    torchvision = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}[name]
    for layout in (".", f"{torchvision}/raw", name):
        folder = tmp_path / layout
        folder.mkdir(parents=True, exist_ok=True)
        for file in FILES:
            (folder / f"{file}{suffix}").touch()
        assert idx.find(name, tmp_path) == folder  # a folder of its own comes before a flat one


def test_packed_and_unpacked_files_may_be_mixed(tmp_path: Path) -> None:
    for file, suffix in zip(FILES, (".gz", "", ".gz", ""), strict=True):
        (tmp_path / f"{file}{suffix}").touch()
    assert idx.find("mnist", tmp_path) == tmp_path
    (tmp_path / FILES[3]).unlink()
    with pytest.raises(InputError, match="mnist is not in"):
        idx.find("mnist", tmp_path)


# Checksums


@pytest.mark.parametrize("packed", [True, False])
def test_a_flipped_bit_names_file_and_both_digests(
    official: Path, unpacked: Path, tmp_path: Path, fresh: Path, packed: bool
) -> None:
    folder = tmp_path / "files" if packed else unpacked
    if packed:
        shutil.copytree(official / "mnist", folder)
        path = folder / "t10k-labels-idx1-ubyte.gz"
        expected = "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
    else:
        path = folder / "MNIST" / "raw" / "train-images-idx3-ubyte"
        expected = "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    content = bytearray(path.read_bytes())
    content[3000] ^= 16
    path.chmod(0o644)
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        data.load("mnist", data_dir=folder)
    got = hashlib.sha256(content).hexdigest()
    assert f"{path}: SHA-256 is {got}, the official file's is {expected}" in str(caught.value)
    assert not (fresh / "msae_mnist" / "1.0.0").exists()


def test_the_other_data_set_is_not_mistaken_for_this_one(official: Path, fresh: Path) -> None:
    with pytest.raises(InputError, match="another data set's"):
        data.load("mnist", data_dir=official / "fashion_mnist")


def test_damaged_prepared_files_say_what_to_do(
    mnist: data.Dataset, tfds_root: Path, fresh: Path
) -> None:
    shutil.copytree(tfds_root / "msae_mnist", fresh / "msae_mnist")
    (records,) = (fresh / "msae_mnist" / "1.0.0").glob("*test.array_record*")
    content = bytearray(records.read_bytes())
    content[100_000] ^= 16
    records.write_bytes(content)
    with pytest.raises(InputError, match=f"{fresh}.*are damaged; delete that folder"):
        data.load("mnist")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"splits": 5}'])
def test_a_damaged_description_of_prepared_files_says_what_to_do(
    fresh: Path, content: bytes
) -> None:
    (fresh / "msae_mnist" / "1.0.0").mkdir(parents=True)
    (fresh / "msae_mnist" / "1.0.0" / "dataset_info.json").write_bytes(content)
    with pytest.raises(InputError, match=f"{fresh} are damaged; delete that data set's folder"):
        data.load("mnist", data_dir=fresh / "nothing")


# Network


class Proxy(http.server.BaseHTTPRequestHandler):
    """Answers any http:// address with the file of that name in `folder`."""

    folder: Path
    refused = ""

    def do_HEAD(self) -> None:
        self.do_GET(body=False)

    def do_GET(self, body: bool = True) -> None:
        content = (self.folder / os.path.basename(self.path)).read_bytes()
        self.send_response(403 if os.path.basename(self.path) == self.refused else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Proxy]]:
    handler = type("Handler", (Proxy,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    yield handler
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_fashion_mnist_is_downloaded_and_prepared_once(
    official: Path, fresh: Path, proxy: type[Proxy], capfd: pytest.CaptureFixture
) -> None:
    proxy.folder = official / "fashion_mnist"
    dataset = data.load("fashion_mnist")
    assert dataset.classes is not None
    assert dataset.classes[9] == "Ankle boot"
    out, err = capfd.readouterr()
    assert out == ""
    assert err == f"preparing fashion_mnist in {fresh} ...\n"
    expected = pixels(official / "fashion_mnist" / "train-images-idx3-ubyte.gz")
    np.testing.assert_array_equal(np.ravel(dataset.train.x), expected)


def test_a_damaged_download_is_refused(
    official: Path, tmp_path: Path, fresh: Path, proxy: type[Proxy]
) -> None:
    proxy.folder = tmp_path / "served"
    shutil.copytree(official / "fashion_mnist", proxy.folder)
    path = proxy.folder / "t10k-labels-idx1-ubyte.gz"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"t10k-labels-idx1-ubyte\.gz.*has wrong checksum"):
        data.load("fashion_mnist")


def test_a_server_that_refuses_one_file(official: Path, fresh: Path, proxy: type[Proxy]) -> None:
    proxy.folder = official / "fashion_mnist"
    proxy.refused = "train-images-idx3-ubyte.gz"
    with pytest.raises(
        InputError, match=r"fashion_mnist could not be prepared in .* HTTP code: 403"
    ):
        data.load("fashion_mnist")


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_without_network_and_files_the_error_says_what_to_put_where(
    fresh: Path, offline: None, name: str
) -> None:
    start = time.monotonic()
    with pytest.raises(InputError) as caught:
        data.load(name)
    assert time.monotonic() - start < 10
    message = str(caught.value)
    assert message.startswith(f"{name} cannot be downloaded (")
    for text in [f"{file}.gz" for file in FILES] + ["--data-dir", "MSAE_DATA_DIR"]:
        assert text in message
    assert "\n" not in message


def test_a_network_that_never_answers_counts_as_none(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idx, "PATIENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{silent.getsockname()[1]}")
        start = time.monotonic()
        with pytest.raises(InputError, match=r"mnist cannot be downloaded"):
            data.load("mnist")
        assert time.monotonic() - start < 2


def test_a_folder_that_cannot_be_written_is_named(
    official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"could not be prepared in .*/file \(TFDS_DATA_DIR"):
        data.load("mnist", data_dir=official)


# Files


@pytest.mark.parametrize(
    "content", [b"", b"\0\0\x08", b"\0\0\x08\x01\0\0\0\x05abc", b"<html>", b"\x1f\x8bxx"]
)
def test_what_is_no_idx_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(InputError, match="not an IDX file"):
        idx.read_idx(tmp_path / "f")


def test_an_idx_file_is_read_by_its_header(tmp_path: Path) -> None:
    content = b"\0\0\x08\x02\0\0\0\x02\0\0\0\x03" + bytes(range(6))
    for raw in (content, gzip.compress(content)):
        (tmp_path / "f").write_bytes(raw)
        np.testing.assert_array_equal(idx.read_idx(tmp_path / "f"), [[0, 1, 2], [3, 4, 5]])
