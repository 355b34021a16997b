"""HTML from Python values: tables and elements in which every text is escaped.

What notebooks show of a result (`_repr_html_`) and the reports are made of the same parts. Nothing
here loads anything: there are no scripts and no addresses.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msae_jax.errors import printable

_VOID = ("br", "hr", "meta")


class Html(str):
    """Text that is HTML already, and is not escaped again."""

    __slots__ = ()


def text(value: object) -> Html:
    """Returns a value as HTML: what is HTML already as it is, all else escaped."""
    if isinstance(value, Html):
        return value
    return Html(html.escape(printable(value if isinstance(value, str) else shown(value))))


def shown(value: object) -> str:
    """Returns a value as people read it: floats with five digits, a mapping as names and values."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, float):
        return f"{value:.5g}" if math.isfinite(value) else "not finite"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {shown(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(shown, value))}]"
    return str(value)


def element(tag: str, *children: object, **attributes: str | None) -> Html:
    """Returns one element.

    Args:
      children: `Html`, or values that are escaped.
      attributes: `class_` stands for `class`, `aria_label` for `aria-label`; None leaves one out.
    """
    listed = [
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(printable(value))}"'
        for name, value in attributes.items()
        if value is not None
    ]
    begin = f"<{tag}{''.join(listed)}>"
    return Html(begin if tag in _VOID else f"{begin}{joined(children)}</{tag}>")


def joined(children: Iterable[object], between: str = "") -> Html:
    """Returns HTML and values, which are escaped, one after another."""
    return Html(between.join(map(text, children)))


def table(head: Sequence[object], rows: Iterable[Sequence[object]], caption: object = None) -> Html:
    """Returns a table whose first column names its rows; columns of numbers are set to the right.

    A number is an `int`, a `float`, or a text of numbers that is marked as a `Figure`.
    """
    listed = [list(row) for row in rows]
    body = [element("tr", *map(_cell, range(len(row)), row)) for row in listed]
    columns = [[row[i] for row in listed if i < len(row)] for i in range(len(head))]
    names = [
        element("th", name, scope="col", class_="n" if i and _are_numbers(columns[i]) else None)
        for i, name in enumerate(head)
    ]
    return element(
        "table",
        *([] if caption is None else [element("caption", caption)]),
        element("thead", element("tr", *names)),
        element("tbody", *body),
    )


class Figure(str):
    """Text that is set like a number in a table, such as an interval."""

    __slots__ = ()


def _cell(column: int, value: object) -> Html:
    if column == 0:
        return element("th", value, scope="row")
    return element("td", value, class_="n" if _is_number(value) else None)


def _are_numbers(values: Sequence[object]) -> bool:
    return bool(values) and all(map(_is_number, values))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | Figure) and not isinstance(value, bool)


def bullets(items: Iterable[object]) -> Html:
    """Returns a list of items; nothing of none."""
    listed = [element("li", item) for item in items]
    return element("ul", *listed) if listed else Html("")


def paragraphs(lines: Iterable[Any]) -> Html:
    """Returns a paragraph for each line."""
    return joined(element("p", line) for line in lines)
