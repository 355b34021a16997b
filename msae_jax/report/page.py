"""The page of a report: one HTML file without scripts, from which no request leaves."""

from __future__ import annotations

from collections.abc import Sequence

from msae_jax.system.html import Html, element, joined

STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --soft: #57606a; --back: #ffffff;
  --line: #d0d7de; --panel: #f6f8fa; --accent: #0060a0; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e9ec; --soft: #a5adb5; --back: #14171b; --line: #3a4149; --panel: #1e2329;
    --accent: #79b8ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 74rem; padding: 1rem; background: var(--back);
  color: var(--text); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .5rem 0; }
h2 { font-size: 1.35rem; margin: 2.5rem 0 .5rem; padding-top: .5rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1.1rem; margin: 1.5rem 0 .5rem; }
p, ul { max-width: 46rem; margin: .5rem 0; }
a { color: var(--accent); }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1rem; list-style: none; padding: 0; }
.lead { border-left: .25rem solid var(--accent); padding-left: .75rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .75rem 0; font-size: .9rem; }
caption { text-align: left; max-width: calc(100vw - 2rem); color: var(--soft);
  padding-bottom: .25rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0;
  border-bottom: 1px solid var(--line); font-variant-numeric: tabular-nums; }
thead th { border-bottom: 2px solid var(--line); }
tbody th { font-weight: 500; }
td { min-width: 8rem; }
td.n { min-width: 0; white-space: nowrap; }
.n { text-align: right !important; }
small, figcaption { color: var(--soft); font-size: .85rem; font-weight: 400; }
.figures { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; }
figure { margin: .5rem 0; max-width: 100%; break-inside: avoid; }
figure svg { max-width: 100%; height: auto; display: block; }
figure svg text { fill: currentColor; font-family: system-ui, sans-serif !important; }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: .3rem;
  padding: .75rem; overflow-x: auto; white-space: pre-wrap; font-size: .85rem; }
footer { margin-top: 3rem; color: var(--soft); font-size: .85rem; }
@media print {
  :root { color-scheme: light; --text: #000; --soft: #444; --back: #fff; --line: #bbb;
    --panel: #fff; --accent: #000; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { display: none; }
  h2, h3 { break-after: avoid; }
  tr, figure, article > p { break-inside: avoid; }
  .wide { overflow: visible; } }
"""

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(title: str, lead: Html, sections: Sequence[tuple[str, Html]], foot: str) -> str:
    """Returns a whole page.

    Args:
      lead: under the title. sections: each with its heading; the list of them links to each.
    """
    names = [f"s{i + 1}" for i in range(len(sections))]
    links = [
        element("li", element("a", heading, href=f"#{name}"))
        for name, (heading, _) in zip(names, sections, strict=True)
    ]
    wide = Html('<div class="wide" tabindex="0"><table>')  # scrolls by itself on a narrow screen
    contents = [Html(c.replace("<table>", wide).replace("</table>", "</table></div>"))
                for _, c in sections]  # fmt: skip
    bodies = [
        element("section", element("h2", heading, id=name), content, aria_labelledby=name)
        for name, (heading, _), content in zip(names, sections, contents, strict=True)
    ]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Html(STYLE)),
    )
    body = element(
        "body",
        element("header", element("h1", title), lead),
        element("nav", element("ul", *links), aria_label="Sections"),
        element("main", *bodies),
        element("footer", element("p", foot)),
    )
    return joined([Html("<!doctype html>\n"), element("html", head, body, lang="en")]) + "\n"
