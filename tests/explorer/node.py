"""Runs the page's own modules in Node, where there is one."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import msae_jax.explorer

PAGE = Path(msae_jax.explorer.__file__).parent / "page"


def run(script: str, values: Any = None) -> Any:
    """Returns what a module prints as JSON; `given` in it are the values.

    It imports from `page/NAME.mjs`.
    """
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node to run the page's JavaScript with")
    text = script.replace("page/", f"{PAGE.as_uri()}/")
    text = f"""import {{ readFileSync as readGiven }} from "node:fs";
        const given = JSON.parse(readGiven(0, "utf8"));\n{text}"""
    done = subprocess.run(
        [node, "--input-type=module", "--eval", text],
        input=json.dumps(values), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
