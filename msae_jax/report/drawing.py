"""Figures as SVG inside a page: no addresses, names that differ, the colours of the page."""

from __future__ import annotations

import io
import re
import warnings

import matplotlib
from matplotlib.figure import Figure

from msae_jax.errors import printable
from msae_jax.figures.style import STYLE
from msae_jax.system.html import Html, element, text

_NOTHING = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_LINES = "stroke-linejoin: round; stroke-linecap: butt"


class Drawings:
    """The figures of one page, numbered so that the names in one are not those in another."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, figure: Figure, said: str, caption: object = None) -> Html:
        """Returns a figure as an element of the page.

        Args:
          said: what it shows, for those who cannot see it. caption: under it, for all.
        """
        self.count += 1
        svg = _svg(figure, f"f{self.count}-", said)
        below = [] if caption is None else [element("figcaption", caption)]
        return element("figure", svg, *below)


def plain(name: str) -> str:
    """Returns a name that matplotlib draws as it is: `$` would begin a formula."""
    return printable(name).replace("$", r"\$")


def _svg(figure: Figure, prefix: str, said: str) -> Html:
    """Returns the SVG of a figure, transparent, its black lines and texts in the page's colour."""
    written = io.StringIO()
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        figure.savefig(written, format="svg", transparent=True, metadata=_NOTHING)
    drawn = written.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL)
    drawn = re.sub(
        r"<style[^>]*>.*?</style>", "", drawn, flags=re.DOTALL
    )  # it is of the whole page
    drawn = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", drawn)  # HTML knows them
    drawn = re.sub(r'\bid="', f'id="{prefix}', drawn)
    drawn = drawn.replace("url(#", f"url(#{prefix}").replace('href="#', f'href="#{prefix}')
    drawn = re.sub(r"\b(stroke|fill): #000000", r"\1: currentColor", drawn)
    head = f'<svg role="img" aria-label="{text(said)}" style="{_LINES}"'
    return Html(drawn.replace("<svg", head, 1).strip())
