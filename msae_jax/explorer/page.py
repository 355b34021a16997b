"""The HTML file: one page, its style, its script and the data, and nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from msae_jax.explorer.packing import as_json
from msae_jax.system.files import make_folder_of, replacing

SCRIPTS = (
    "tensors", "elementwise", "layout", "convolutions", "graph", "content", "latents", "state",
    "drawing", "plane", "polygon", "pointer", "sample", "tools", "caught", "series", "main",
)  # fmt: skip
"""The files of the script, each before those that use it."""


def html_of(values: Mapping[str, Any]) -> str:
    """Returns the whole page for the content that `explorer.content` gives.

    The page may load nothing: its policy allows this very script and this very style by their
    digests, and forbids every request. What comes from names of files, columns and classes stands
    only in the title, where it is escaped, and in the data, which the script shows as text.
    """
    script, style = script_text(), _read("style.css")
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {
        "policy": policy,
        "title": html.escape(str(values["title"])),
        "style": style,
        "data": as_json(values),
        "script": script,
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _read("page.html"))


def script_text() -> str:
    """Returns the modules of the page as one: a page that is a file can import no other file.

    All their top-level names are different, else the page's script is a syntax error.
    """
    text = "\n".join(_read(f"{name}.mjs") for name in SCRIPTS)
    text = re.sub(r"(?ms)^import\s[^;]*?;\n", "", text)
    return re.sub(r"(?m)^export (?=(async |function|const|class|let))", "", text)


def write(path: Path, text: str, *, overwrite: bool = False) -> None:
    """Writes a page, whole or not at all.

    Raises:
      InputError: the file exists and `overwrite` is False, or it cannot be written.
    """
    make_folder_of(path)
    with replacing(path, overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def _read(name: str) -> str:
    return resources.files("msae_jax.explorer").joinpath("page", name).read_text("utf-8")


def _digest(text: str) -> str:
    """Returns what a policy calls the text of an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
