"""The recipes of CONTRIBUTING.md work as they are written."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPES = {
    title: body
    for title, body in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
}
RUNNABLE = [title for title, body in RECIPES.items() if "```sh" in body]


def test_there_are_five_recipes() -> None:
    assert list(RECIPES) == ["A model", "A data set", "A loss", "A metric", "A study"]
    assert len(RUNNABLE) == 4


@pytest.mark.parametrize("title", RUNNABLE)
def test_a_recipe_runs(title: str, tmp_path: Path) -> None:
    files = re.findall(r"^`([\w.]+)`:\n\n```python\n(.*?)```", RECIPES[title], re.M | re.DOTALL)
    (commands,) = re.findall(r"```sh\n(.*?)```", RECIPES[title], re.DOTALL)
    assert files
    for name, text in files:
        (tmp_path / name).write_text(text)
    for command in commands.strip().splitlines():
        program, *arguments = shlex.split(command)
        assert program == "msae"
        done = subprocess.run(
            [sys.executable, "-m", "msae_jax", *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (command, done.stderr)


def test_the_model_of_the_recipe_is_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed (the torch extra)")
    test_a_recipe_runs("A model", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "msae_jax", "verify", "tiny.pth", "--model", "my_model:TINY"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
