"""What `pip install .` installs, and what `import msae_jax` gives: both lists are by hand."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msae_jax

ROOT = Path(__file__).parent.parent


def test_every_public_name_and_module_is_there_after_one_import() -> None:
    for name in (*msae_jax.__all__, *msae_jax._SUBMODULES):
        assert getattr(msae_jax, name) is not None
    assert not hasattr(msae_jax, "absent")
    assert msae_jax.compare.compare.__module__ == "msae_jax.compare"


def test_every_package_is_installed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {".".join(p.parent.relative_to(ROOT).parts) for p in ROOT.glob("msae_jax/**/*.py")}
    assert sorted(listed) == sorted(found | {"msae_jax.experiments"})
