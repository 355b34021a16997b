"""What `pip install .` installs: the lists in pyproject.toml are by hand."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_package_is_installed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {".".join(p.parent.relative_to(ROOT).parts) for p in ROOT.glob("msae_jax/**/*.py")}
    assert sorted(listed) == sorted(found | {"msae_jax.experiments"})
