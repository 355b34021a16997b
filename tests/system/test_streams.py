"""Standard streams that are closed, or that cannot show every character."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = (
    "from msae_jax.system import streams; streams.prepare(); import sys;"
    "print('to stdout \\u8bd5'); print('to stderr', file=sys.stderr); sys.stdin.read();"
    "open('first file', 'w').write('x'); sys.stderr.flush()"
)


@pytest.mark.parametrize("closing", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_closed_streams_lead_nowhere(tmp_path: Path, closing: str) -> None:
    command = f'"{sys.executable}" -c "$CODE" {closing}'
    environment = os.environ | {"CODE": CODE, "PYTHONPATH": str(Path(__file__).parents[2])}
    got = subprocess.run(
        ["bash", "-c", command],
        cwd=tmp_path, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert got.returncode == 0, got.stderr
    assert ("to stdout" in got.stdout) == (">&-" not in closing.replace("2>&-", ""))
    assert "to stderr" not in got.stdout
    assert (tmp_path / "first file").read_text() == "x"


def test_what_the_terminal_cannot_show_has_backslashes(tmp_path: Path) -> None:
    environment = os.environ | {
        "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(Path(__file__).parents[2]),
    }  # fmt: skip
    got = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=tmp_path, env=environment, capture_output=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert got.returncode == 0, got.stderr
    assert got.stdout.splitlines() == [b"to stdout \\u8bd5"]


def test_no_home_is_no_cache() -> None:
    """Where neither HOME nor the user's entry says where a home is."""
    code = (
        "import os, pathlib\n"
        "def nowhere(): raise RuntimeError('Could not determine home directory.')\n"
        "pathlib.Path.home = nowhere\n"
        "from msae_jax.system import compilation_cache\n"
        "compilation_cache.enable()\n"
        "print(os.environ.get('JAX_COMPILATION_CACHE_DIR'))"
    )
    hidden = ("HOME", "XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR")
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    got = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert got.stdout.splitlines() == ["None"], got.stderr
