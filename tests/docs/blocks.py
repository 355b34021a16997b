"""Runs the blocks of a page in order, in one temporary folder and one namespace for each page.

- `python` is executed; what it prints is kept for a `text` block that follows.
- `python` after a line that is only a name, such as "`mine.py`:", is written to that file.
- `sh` is executed line by line: `msae` in this process, anything else by a shell.
- `text` that follows one of these holds the output. `...` stands for anything, and numbers with a
  decimal point may differ by TOLERANCE, since other processors round otherwise and training
  amplifies that. Whole numbers and words must be the same.
- `<!-- skip: next "reason" -->` before a block skips it, with the reason; `next if(CONDITION,
  reason="...")` where the condition holds, in which `missing("package")` may stand.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from sybil import Example
from sybil.parsers.markdown import CodeBlockParser, SkipParser

from msae_jax import config, models
from msae_jax.train import losses
from tests.cli.in_process import msae

TOLERANCE = 0.1
"""By which share a shown number with a decimal point may differ from what was computed."""

FILE = re.compile(r"^`([\w./]+)`:\n\n\Z", re.MULTILINE)
NUMBER = re.compile(r"-?\d+\.\d+(?:e[-+]?\d+)?|-?\d+e[-+]?\d+")


@contextlib.contextmanager
def registries_kept() -> Iterator[None]:
    """Forgets the names that are registered meanwhile: other tests may register them, too."""
    tables = (models._RECORDS, losses._LIKELIHOODS)
    before = [dict(table) for table in tables]
    listed = [*config.LIKELIHOODS]
    try:
        yield
    finally:
        for table, content in zip(tables, before, strict=True):
            for name in {*table} - {*content}:
                del table[name]
        config.LIKELIHOODS[:] = listed


def setup(namespace: dict[str, Any]) -> None:
    """Enters a new folder, from which modules are imported."""
    folder = Path(tempfile.mkdtemp(prefix="msae-page-"))
    namespace |= {
        "missing": lambda name: importlib.util.find_spec(name) is None,
        "_page": {
            "folder": folder,
            "before": (Path.cwd(), [*sys.path], dict(os.environ)),
            "printed": None,
            "registries": contextlib.ExitStack(),
        },
    }
    namespace["_page"]["registries"].enter_context(registries_kept())
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    os.environ["PYTHONPATH"] = str(folder)


def teardown(namespace: dict[str, Any]) -> None:
    """Leaves the folder, forgets the modules that lay in it, and removes it."""
    page = namespace["_page"]
    page["registries"].close()
    cwd, path, environment = page["before"]
    os.chdir(cwd)
    sys.path[:] = path
    for name, module in [*sys.modules.items()]:
        if (getattr(module, "__file__", None) or "").startswith(str(page["folder"])):
            del sys.modules[name]
    for name in {*os.environ} - {*environment}:
        del os.environ[name]
    os.environ.update(environment)
    shutil.rmtree(page["folder"])
    jax.clear_caches()


def run_python(example: Example) -> None:
    page = example.namespace["_page"]
    if name := FILE.search(example.document.text[: example.region.start]):
        path = Path(name[1])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(example.parsed)
        sys.modules.pop(path.stem, None)  # of this name, which another test imported
        importlib.invalidate_caches()
        page["printed"] = None
        return
    lines = "\n" * (example.line + example.parsed.line_offset)
    code = compile(lines + example.parsed, example.path, "exec", dont_inherit=True)
    with _printed(page):
        exec(code, example.namespace)


def run_shell(example: Example) -> None:
    page = example.namespace["_page"]
    with _printed(page) as out:
        for line in example.parsed.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["msae"]:
                with contextlib.redirect_stderr(io.StringIO()) as errors:
                    status = msae(*words[1:])
                assert status == 0, f"{line}\nexit status {status}\n{errors.getvalue()}"
            elif words:
                command = ["bash", "-c", line]
                done = subprocess.run(command, capture_output=True, text=True)
                assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
                out.write(done.stdout)


@contextlib.contextmanager
def _printed(page: dict[str, Any]) -> Iterator[io.StringIO]:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        yield out
    page["printed"] = out.getvalue()


def check_text(example: Example) -> None:
    page = example.namespace["_page"]
    printed, page["printed"] = page["printed"], None
    between = example.document.text[: example.region.start].rstrip()
    if printed is not None and between.endswith("```"):
        difference = differs(example.parsed, printed)
        assert difference is None, f"{difference}\nprinted:\n{printed}"


def differs(shown: str, printed: str, tolerance: float = TOLERANCE) -> str | None:
    """Returns what is wrong about the output that a page shows; None if nothing is."""
    words = [".*?".join(map(_literal, word.split("..."))) for word in shown.split()]
    if not re.fullmatch(r"\s+".join(words), _masked(printed).strip(), re.DOTALL):
        return f"the page shows other words:\n{shown}"
    # Lines that are shown whole have their numbers compared, too.
    whole: dict[str, list[str]] = {}
    for line in printed.splitlines():
        whole.setdefault(_masked(line).strip(), []).append(line)
    for line in shown.splitlines():
        lines = whole.get(_masked(line).strip())
        if not lines:
            continue
        for a, b in zip(NUMBER.findall(line), NUMBER.findall(lines.pop(0)), strict=True):
            if abs(float(a) - float(b)) > tolerance * max(abs(float(a)), abs(float(b))):
                return f"the page shows {a}, which is now {b}"
    return None


def _masked(text: str) -> str:
    return NUMBER.sub("#", text)


def _literal(part: str) -> str:
    return re.escape(_masked(part))


PARSERS = [
    SkipParser(),
    CodeBlockParser("python", run_python),
    CodeBlockParser("sh", run_shell),
    CodeBlockParser("text", check_text),
]
