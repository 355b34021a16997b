"""Files and folders appear whole or not at all, and killed writers leave nothing for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from msae_jax.errors import InputError
from msae_jax.system.files import new_folder, replacing

KILLED = """
import os, signal, sys
from pathlib import Path
from msae_jax.system.files import new_folder, replacing
target = Path(sys.argv[1])
with (replacing if sys.argv[2] == "file" else new_folder)(target) as temporary:
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_writer_left_goes_with_the_next(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "a.b*"
    run = subprocess.run([sys.executable, "-c", KILLED, str(target), kind])
    assert run.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.endswith(".tmp")
    with replacing(target) as temporary:
        assert [*tmp_path.iterdir()] == [temporary]
        temporary.write_text("new")
        other = left.with_name(left.name.replace(left.name.split(".")[-3], str(os.getppid())))
        other.touch()  # of a process that runs
    with replacing(target, overwrite=True):
        assert other.exists()


def test_an_error_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), new_folder(tmp_path / "run") as temporary:
        (temporary / "no folder" / "a").touch()
    assert [*tmp_path.iterdir()] == []
    with new_folder(tmp_path / "run") as temporary:
        (temporary / "a").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["run", "a"]
    with pytest.raises(InputError, match="exists already"), new_folder(tmp_path / "run"):
        pass
