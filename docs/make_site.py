"""Stages the pages in build/docs/ and builds the site in build/site/, strictly: `make docs`.

The staged folder holds the pages of docs/, those that `docs.generated` writes, the figures that
pages show, and PAGES. A link that is right in the repository, such as
`../figures/sines/loss_curves.png`, is written anew for the place of its file in the site.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from docs import generated

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("CONTRIBUTING.md", "CHANGELOG.md", "figures/ledger.md")
"""What lies elsewhere in the repository and is a page of the site, too."""

ASSETS = ("extra.css", "iframe-worker.js")
"""What of docs/ zensical.toml names."""

REPOSITORY = "https://github.com/msae-jax/msae_jax/blob/main"
LINK = re.compile(r"(\]\()([^)#\s]+)([^)]*\))")


def stage(target: Path) -> list[Path]:
    """Writes all pages and what they show below `target`, and returns the pages."""
    shutil.rmtree(target, ignore_errors=True)
    texts = {
        page.relative_to(ROOT): page.read_text("utf-8") for page in (ROOT / "docs").rglob("*.md")
    }
    texts |= {Path(name): (ROOT / name).read_text("utf-8") for name in PAGES}
    written = {Path("docs") / name: text for name, text in generated.pages().items()}
    places = {source: _place(source) for source in [*texts, *written]}
    shown: set[Path] = set()
    for source, text in [*texts.items(), *written.items()]:
        page = target / places[source]
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(_relinked(text, source, places, shown), "utf-8")
    for source in shown | {Path("docs") / name for name in ASSETS}:
        file = target / _place(source)
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / source, file)
    return [target / place for place in places.values()]


def _place(source: Path) -> Path:
    return source.relative_to("docs") if source.parts[0] == "docs" else source


def _relinked(text: str, source: Path, places: dict[Path, Path], shown: set[Path]) -> str:
    """Returns the text with its links as the site needs them; adds the images to `shown`."""

    def anew(match: re.Match[str]) -> str:
        before, link, after = match.groups()
        if "://" in link or link.startswith("mailto:"):
            return match[0]
        linked = Path(os.path.normpath(source.parent / link))
        if linked not in places:
            if linked.suffix not in (".png", ".svg"):  # a file or folder that is no page
                return f"{before}{REPOSITORY}/{linked}{after}"
            shown.add(linked)
        there = os.path.relpath(_place(linked), _place(source).parent)
        return f"{before}{there}{after}"

    return LINK.sub(anew, text)


def main() -> int:
    """Builds the site, and returns the exit status: not 0 where a link or a page is wrong."""
    stage(ROOT / "build" / "docs")
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    return subprocess.run(command, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
