"""Messages: what they quote from a stranger's file cannot steer a terminal."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from msae_jax.errors import CheckpointError, InputError, printable
from msae_jax.interop import load_torch, read_tensors, write_tensors
from tests.interop.hostile_pth import state, tensor, zipped

HOSTILE = "w\x1b]0;owned\x07\x9b31m\u202e"


def test_what_a_terminal_obeys_is_escaped() -> None:
    assert printable(HOSTILE) == r"w\x1b]0;owned\x07\x9b31m\u202e"
    assert printable("a\x7f\r\t\udc80") == r"a\x7f\r\t\udc80"
    assert printable("größe 日本\nsecond line") == "größe 日本\nsecond line"
    for kind in (InputError, CheckpointError):
        assert str(kind(HOSTILE)) == printable(HOSTILE)


def named(key: bytes, path: Path) -> None:
    """Writes a file whose one key `write_tensors` would refuse."""
    if path.suffix == ".pth":
        name, length = b"w", struct.pack("<I", len(key))
        program = state(tensor()).replace(b"X\1\0\0\0" + name, b"X" + length + key)
        path.write_bytes(zipped(program))
    else:
        escaped = json.dumps(key.decode()).strip('"').encode()
        write_tensors(path, {"w" * len(escaped): np.zeros(2, np.float32)})
        path.write_bytes(path.read_bytes().replace(b"w" * len(escaped), escaped))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_keys_with_terminal_escapes_are_not_printed_raw(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    named(HOSTILE.encode(), path)
    assert list(read_tensors(path)) == [HOSTILE]  # what the file has
    with pytest.raises(InputError, match=r"unexpected: w\\x1b\]0;owned\\x07") as caught:
        load_torch(path, "pca")
    assert str(caught.value).isprintable()
