"""What `pip install .` installs, and what `import msae_jax` gives: both lists are by hand."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_one_import_is_enough() -> None:
    code = (
        "import msae_jax as mj; mj.compare.compare, mj.sweep.run, mj.interop.load_torch, "
        "mj.figures.save, [getattr(mj, name) for name in mj.__all__]; assert not hasattr(mj, 'no')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_package_is_installed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {".".join(p.parent.relative_to(ROOT).parts) for p in ROOT.glob("msae_jax/**/*.py")}
    assert sorted(listed) == sorted(found | {"msae_jax.experiments"})


def test_the_version_is_that_of_the_package() -> None:
    code = "import sys; from msae_jax.cli import main; sys.argv = ['msae', '--version']; main()"
    code += "; assert not {'jax', 'numpy'} & {*sys.modules}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert done.stdout == f"msae_jax {project['version']}\n"


def test_tab_finds_the_public_names() -> None:
    import msae_jax

    assert {"fit", "recipe", "train", "__version__"} <= {*dir(msae_jax)}


def test_a_shell_completes_commands_without_jax() -> None:
    code = "import sys; from msae_jax.cli import main; sys.argv = ['msae']\ntry: main()\n"
    code += "finally: assert not {'jax', 'numpy'} & {*sys.modules}"
    asked = {"_MSAE_COMPLETE": "complete_bash", "COMP_WORDS": "msae re", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | asked
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["replay", "report", "reproduce", "reconstruct"]


def test_the_citation_names_the_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "CITATION.cff").read_text().splitlines()
    assert f"version: {project['version']}" in lines


def test_the_extras_of_devices_have_the_range_of_jax() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (jax,) = [need for need in project["dependencies"] if need.startswith("jax>")]
    for device in ("cuda12", "cuda13", "tpu"):
        needed = project["optional-dependencies"][device]
        assert needed == [jax.replace("jax", f"jax[{device}]")]


def test_every_tracker_has_an_extra_of_its_name() -> None:
    from msae_jax import trackers

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {*trackers.KNOWN} <= {*extras["optional-dependencies"]}
