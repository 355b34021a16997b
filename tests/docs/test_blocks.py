"""How the blocks of pages are run, and that each of them is."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sybil import Document
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer

from tests.docs import blocks

PAGES = [blocks.ROOT / "README.md", blocks.ROOT / "CONTRIBUTING.md"]
PAGES += sorted((blocks.ROOT / "docs").rglob("*.md"))


def run(text: str, tmp_path: Path) -> Iterator[object]:
    """Runs a page block by block, in a folder of its own, and yields its namespace after each."""
    path = tmp_path / "page.md"
    path.write_text(text)
    page = Document.parse(str(path), *blocks.PARSERS)
    blocks.setup(page.namespace)
    try:
        for example in page.examples():
            example.evaluate()
            yield page.namespace
    finally:
        blocks.teardown(page.namespace)


def test_a_shown_output_is_compared() -> None:
    assert blocks.differs("MSE 0.50 of 3", "MSE 0.52 of 3\n") is None
    assert blocks.differs("a ... c 1.0", "a b\nmore c 1.05") is None
    assert "now 0.7" in (blocks.differs("MSE 0.50 of 3", "MSE 0.7 of 3") or "")
    assert "other words" in (blocks.differs("MSE 0.50 of 3", "MSE 0.50 of 4") or "")
    assert "other words" in (blocks.differs("a ... c", "a b d") or "")
    assert "now 2.0" in (blocks.differs("...\nsum 1.0", "first\nsum 2.0") or "")


def test_a_block_is_run_shorter() -> None:
    code = "train --epochs 20 --seeds 8"
    shorter = blocks.shortened(code, '"--epochs 20" "--epochs 1"\n    "8" "$SEEDS"')
    assert shorter == "train --epochs 1 --seeds $SEEDS"
    with pytest.raises(AssertionError, match="the block has no '--epochs 2 '"):
        blocks.shortened(code, '"--epochs 2 " ""')
    with pytest.raises(AssertionError, match="must be pairs"):
        blocks.shortened(code, '"--epochs 20"')


def test_comments_say_how_a_block_is_run(tmp_path: Path) -> None:
    text = """
<!-- invisible-code: sh
echo given > taken
-->

<!-- shorter: "many" "few" -->
<!-- skip: next if(no_command("bash"), reason="there is no bash") -->
```sh
cat taken; echo many
```

```text
given
few
```

<!-- shorter: "1000" "2" -->
```python
print(1000 + 1)
```

```text
3
```

`run.toml`:

```toml
epochs = 1
```

```sh
cat run.toml
```

```text
epochs = 1
```
"""
    assert len([*run(text, tmp_path)]) == 9
    with pytest.raises(AssertionError, match="other words"):
        [*run(text.replace("few\n```", "many\n```"), tmp_path)]


def test_processes_run_at_once_on_a_port_that_is_free(tmp_path: Path) -> None:
    """Each of the two waits for what only the other writes."""
    text = """
<!-- processes -->
```sh
echo $PORT > one; until test -s two; do sleep 0.01; done; cat two
echo $PORT > two; until test -s one; do sleep 0.01; done; cat one
```
"""
    (namespace,) = run(text, tmp_path)
    first, second = map(int, namespace["_page"]["printed"].split())  # type: ignore[index]
    assert first == second > 1000
    with pytest.raises(AssertionError, match="exit 3"):
        [*run("<!-- processes -->\n```sh\nexit 3\n```\n", tmp_path)]


def test_official_files_are_those_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "files" / "mnist").mkdir(parents=True)
    monkeypatch.setenv("MSAE_DATA_DIR", str(tmp_path / "files"))
    monkeypatch.setenv("TFDS_DATA_DIR", "the user's")
    assert [blocks.no_data(name) for name in ("mnist", "other")] == [False, True]
    (_,) = run("```sh\ntest -d $MSAE_DATA_DIR/mnist\n```\n", tmp_path)
    assert os.environ["TFDS_DATA_DIR"] == "the user's"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(blocks.ROOT)))
def test_every_block_of_a_page_is_run(path: Path) -> None:
    """None is skipped everywhere, of no language that nothing runs, or shown and not compared."""
    page = Document.parse(str(path), *blocks.PARSERS)
    fenced = {region.start: region for region in FencedCodeBlockLexer(".+")(page)}
    assert {region.lexemes["language"] for region in fenced.values()} <= {*blocks.RUNNERS}
    assert len(fenced) == len(re.findall("^```", page.text, re.MULTILINE)) / 2
    used = 0
    for start, region in fenced.items():
        before = page.text[:start]
        if region.lexemes["language"] == "text":
            comments = blocks.COMMENTS.search(before)
            shown = before[: comments.start()] if comments else before
            assert shown.endswith("```\n\n"), f"compared with nothing: {region.lexemes['source']}"
            continue
        said = blocks.COMMENTS.search(before)
        used += len(re.findall("<!-- (?:shorter|processes)", said[0])) if said else 0
        for pairs in blocks.SHORTER.findall(said[0] if said else ""):
            blocks.shortened(region.lexemes["source"], pairs)
    assert used == len(re.findall("<!-- *(?:shorter|processes)", page.text)), "not above a block"
    for how in re.findall("<!-- *skip: (.*?)-->", page.text):
        assert re.match(r"(next|start) if\(|end ", how), f"skipped everywhere: {how}"
