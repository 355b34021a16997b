"""Compiled programs on disk, some of whose writers were killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from msae_jax.system import compilation_cache

COMPILE = """
from msae_jax.system import compilation_cache
compilation_cache.enable()
import jax
print(jax.jit(lambda x: x + {})(1.0))
"""


def compile_in_another_process(caches: Path, number: int) -> str:
    """Compiles a program of its own for each number; returns what was printed of errors."""
    settings = {"XDG_CACHE_HOME": str(caches), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    own = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    command = [sys.executable, "-c", COMPILE.format(number)]
    done = subprocess.run(command, env=own | settings, capture_output=True, text=True, check=True)
    return done.stderr


def test_a_killed_writer_does_not_keep_others_from_writing(tmp_path: Path) -> None:
    assert compile_in_another_process(tmp_path, 1) == ""
    programs = list(tmp_path.glob("msae_jax/*/*-cache"))
    assert programs
    for program in programs:  # a half-written program has no time yet
        program.write_bytes(program.read_bytes()[:100])
        program.with_name(program.name.removesuffix("-cache") + "-atime").unlink()
    assert compile_in_another_process(tmp_path, 2) == ""
    assert compile_in_another_process(tmp_path, 1) == ""
    assert all(path.stat().st_size > 100 for path in programs)


def test_programs_of_a_cache_without_a_limit_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x-cache").touch()
    monkeypatch.setenv("JAX_COMPILATION_CACHE_MAX_SIZE", "-1")
    compilation_cache.remove_interrupted(tmp_path)
    assert (tmp_path / "x-cache").exists()
    monkeypatch.delenv("JAX_COMPILATION_CACHE_MAX_SIZE")
    compilation_cache.remove_interrupted(tmp_path)
    assert not (tmp_path / "x-cache").exists()
