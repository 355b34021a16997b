"""Runs the blocks of a page in order, in one temporary folder and one namespace for each page.

- `python` is executed; what it prints is kept for a `text` block that follows.
- `python` or `toml` after a line that is only a name, such as "`mine.py`:", is written to a file.
- `sh` is executed line by line: `msae` in this process, anything else by a shell. There REPOSITORY
  is the root of the repository, and MSAE_DATA_DIR the official files, where there are any.
- `text` that follows one of these holds the output. `...` stands for anything, and numbers with a
  decimal point may differ by TOLERANCE, since other processors round otherwise and training
  amplifies that. Whole numbers and words must be the same.

Comments directly before a block, which no reader of the page sees, say how it is run:

- `<!-- skip: next if(CONDITION, reason="...") -->` skips it where the condition holds, in which
  `missing("package")`, `no_data("file/below/MSAE_DATA_DIR")` and `no_command("make")` may stand.
  A block is never skipped everywhere.
- `<!-- shorter: "--seeds 64" "--seeds 2" -->` runs it with the first text replaced by the second,
  the third by the fourth, and so on. A text that the block does not have is an error.
- `<!-- processes -->` starts its commands at once, each in a process of its own. There PORT is a
  port that is free.
- `<!-- invisible-code: sh` (or `python`), then lines, then `-->` is a block of its own that no
  reader sees: it makes what the page takes for granted, or checks what a command has left.
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
import socket
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

ROOT = Path(__file__).parents[2]

FILE = re.compile(r"^`([\w./]+)`:\n\n(?:<!--(?:(?!-->).)*-->\n)*\Z", re.MULTILINE | re.DOTALL)
COMMENTS = re.compile(r"(?:^<!--(?:(?!-->).)*-->\n)+\Z", re.MULTILINE | re.DOTALL)
SHORTER = re.compile(r"<!-- shorter: (.*?)-->", re.DOTALL)
PROCESSES = "<!-- processes -->"
PATIENCE = 180.0
"""Seconds to wait for the commands of a block that are started at once."""

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


def official() -> Path | None:
    """Returns the folder of the official files: MSAE_DATA_DIR, or shared/data beside all this."""
    folder = Path(os.environ.get("MSAE_DATA_DIR") or ROOT.parent / "shared" / "data")
    return folder if folder.is_dir() else None


def no_data(name: str) -> bool:
    """Returns whether there is no such official file."""
    folder = official()
    return folder is None or not (folder / name).exists()


def setup(namespace: dict[str, Any]) -> None:
    """Enters a new folder, from which modules are imported."""
    folder, files = Path(tempfile.mkdtemp(prefix="msae-page-")), official()
    namespace |= {
        "missing": lambda name: importlib.util.find_spec(name) is None,
        "no_data": no_data,
        "no_command": lambda name: shutil.which(name) is None,
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
    os.environ |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
        "REPOSITORY": str(ROOT),
        # What is prepared from the official files is kept for other tests, not for the user.
        "TFDS_DATA_DIR": str(
            Path(os.environ.get("MSAE_TEST_PROGRAMS", folder)) / "tensorflow_datasets"
        ),
    }
    if files is not None:
        os.environ["MSAE_DATA_DIR"] = str(files.resolve())


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


def as_run(example: Example) -> tuple[str, bool]:
    """Returns the code that is run, shorter where so said, and whether as processes at once."""
    comments = COMMENTS.search(example.document.text[: example.region.start])
    said = comments[0] if comments else ""
    code = str(example.parsed)
    for found in SHORTER.finditer(said):
        code = shortened(code, found[1])
    return code, PROCESSES in said


def shortened(code: str, pairs: str) -> str:
    """Returns the code with the texts of `pairs`, quoted as in a shell, replaced: "old" "new"."""
    words = shlex.split(pairs)
    assert words, "shorter: says nothing"
    assert len(words) % 2 == 0, f"shorter: {pairs}must be pairs: what, by what"
    for old, new in zip(words[::2], words[1::2], strict=True):
        assert old in code, f"shorter: the block has no {old!r}"
        code = code.replace(old, new)
    return code


def write_file(example: Example) -> bool:
    """Writes a block below its name to a file, and returns whether it has one."""
    name = FILE.search(example.document.text[: example.region.start])
    if name is None:
        return False
    path = Path(name[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(as_run(example)[0])
    sys.modules.pop(path.stem, None)  # of this name, which another test imported
    importlib.invalidate_caches()
    example.namespace["_page"]["printed"] = None
    return True


def run_python(example: Example) -> None:
    if write_file(example):
        return
    lines = "\n" * (example.line + example.parsed.line_offset)
    code = compile(lines + as_run(example)[0], example.path, "exec", dont_inherit=True)
    with _printed(example.namespace["_page"]):
        exec(code, example.namespace)


def run_toml(example: Example) -> None:
    assert write_file(example), "a block of TOML needs a line above it that names its file"


def run_shell(example: Example) -> None:
    code, at_once = as_run(example)
    lines = [line for line in code.replace("\\\n", " ").splitlines() if shlex.split(line, True)]
    with _printed(example.namespace["_page"]) as out:
        if at_once:
            out.write(run_at_once(lines))
            return
        for line in lines:
            words = shlex.split(line, comments=True)
            if words[0] == "msae":
                with contextlib.redirect_stderr(io.StringIO()) as errors:
                    status = msae(*words[1:])
                assert status == 0, f"{line}\nexit status {status}\n{errors.getvalue()}"
            else:
                command = ["bash", "-c", line]
                done = subprocess.run(command, capture_output=True, text=True)
                assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
                out.write(done.stdout)


def run_at_once(lines: list[str]) -> str:
    """Returns what the commands print, one after another, which run beside each other."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        environment = os.environ | {"PORT": str(free.getsockname()[1])}
    started = [
        subprocess.Popen(
            ["bash", "-c", line],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for line in lines
    ]
    try:
        printed = [process.communicate(timeout=PATIENCE) for process in started]
    finally:
        for process in started:
            process.kill()
    for line, process, said in zip(lines, started, printed, strict=True):
        assert process.returncode == 0, "\n".join([line, *said])
    return "".join(out for out, _ in printed)


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


RUNNERS = {"python": run_python, "sh": run_shell, "toml": run_toml, "text": check_text}
PARSERS = [SkipParser(), *(CodeBlockParser(name, run) for name, run in RUNNERS.items())]
