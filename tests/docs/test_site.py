"""The pages: their links, the navigation, and what is generated from the code."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

ROOT = Path(__file__).parents[2]
TEXTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "checkpoints" / "README.md"]
LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    """The pages that are written from the code, by their place below docs/."""
    pytest.importorskip("griffe", reason="griffe is not installed (the docs extra)")
    from docs import generated

    return generated.pages()


def anchors(text: str) -> set[str]:
    """Returns what the headings of a page are called in links."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = [re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    slugs = {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", h).strip().lower()) for h in plain}
    return slugs | set(re.findall(r"^::: (\S+)", text, re.MULTILINE))


def test_every_link_leads_somewhere(generated: dict[str, str]) -> None:
    pages = {ROOT / "docs" / name: text for name, text in generated.items()}
    pages |= {path: path.read_text("utf-8") for path in TEXTS}
    dead, seen = [], 0
    for path, text in pages.items():
        for link in LINK.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
            file, _, anchor = link.partition("#")
            if "://" in link or file.startswith("mailto:"):
                continue
            seen += 1
            target = Path(os.path.normpath(path.parent / file)) if file else path
            if target not in pages and not target.exists():
                dead.append(f"{path.relative_to(ROOT)}: {link}")
            elif anchor and target.suffix == ".md":
                there = pages.get(target) or target.read_text("utf-8")
                if anchor not in anchors(there):
                    dead.append(f"{path.relative_to(ROOT)}: {link}")
    assert seen > 100
    assert not dead


def test_every_page_is_in_the_navigation(generated: dict[str, str]) -> None:
    def listed(entry: Any) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        values = entry.values() if isinstance(entry, dict) else entry
        return [page for value in values for page in listed(value)]

    site = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]
    written = {str(p.relative_to(ROOT / "docs")) for p in ROOT.glob("docs/**/*.md")}
    below_the_index = {name for name in generated if name.startswith("reference/api/")}
    below_the_index -= {"reference/api/index.md"}
    expected = (written | {*generated}) - below_the_index | {"CONTRIBUTING.md", "CHANGELOG.md"}
    assert sorted(listed(site["nav"])) == sorted(expected)


def test_every_option_says_what_it_does() -> None:
    from msae_jax.cli import app

    commands: Any = typer.main.get_command(app)
    silent = [
        f"{name} {parameter.opts[0]}"
        for name, command in commands.commands.items()
        for parameter in command.params
        if parameter.name != "help" and not parameter.help
    ]
    assert not silent


def test_every_field_of_the_configuration_has_a_meaning(generated: dict[str, str]) -> None:
    page = generated["reference/configuration.md"]
    rows = re.findall(r"^\| `([\w.]+)` \| (.+) \| (.+) \| (.*) \|$", page, re.MULTILINE)
    assert len(rows) > 30
    assert [field for field, _, _, meaning in rows if not meaning.strip()] == []
    by_name = {field: (default, kind) for field, default, kind, _ in rows}
    assert by_name["optimizer.learning_rate"] == ("`0.001`", "number")
    assert by_name["objective.reduction"] == ("`'mean'`", "`mean`, `batchmean`, `sum`")
