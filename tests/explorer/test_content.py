"""What goes into the page, and what cannot leave its place."""

from __future__ import annotations

import base64
import json
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from msae_jax.data.series import Facts, Scaling, Windows
from msae_jax.errors import InputError
from msae_jax.explorer import columns, page, samples
from msae_jax.explorer.packing import as_json, packed

RNG = np.random.default_rng(5)


def unpacked(values: dict[str, Any]) -> np.ndarray:
    raw = zlib.decompress(base64.b64decode(values["data"]))
    return np.frombuffer(raw, values["dtype"]).reshape(values["shape"])


def test_arrays_survive_packing() -> None:
    for array, dtype in [
        (RNG.normal(size=(3, 4)), "float32"),
        (np.arange(5), "int32"),
        (np.arange(5, dtype=np.uint8), "uint8"),
        (np.array([True, False]), "bool"),
        (np.array(2.5, np.float32), "float32"),
    ]:
        found = packed(array)
        assert found["dtype"] == dtype
        np.testing.assert_array_equal(unpacked(found), array.astype(dtype))
    far = packed(np.array([np.iinfo(np.int64).max, np.iinfo(np.int64).min]))
    assert unpacked(far).tolist() == [2**31 - 1, -(2**31)]
    assert unpacked(packed([1.5], "float64")).tolist() == [1.5]


class Reader(HTMLParser):
    """Collects the elements of a page and the text of its scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.scripts: list[str] = []
        self.title = ""
        self.inside = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append(tag)
        self.inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, text: str) -> None:
        if self.inside == "script":
            self.scripts[-1] += text
        if self.inside == "title":
            self.title += text


HOSTILE = "</script><script>alert(1)</script><!--<img src=x onerror=alert(1)>&amp;{{style}}"


def test_no_name_leaves_its_place() -> None:
    given = {"title": HOSTILE, "columns": [{"name": HOSTILE, "names": [HOSTILE]}]}
    reader = Reader()
    reader.feed(page.html_of(given))
    assert reader.title == HOSTILE
    assert json.loads(reader.scripts[0]) == given
    assert len(reader.scripts) == 2
    assert "img" not in reader.elements
    assert not re.search("[<>&]", as_json(given))


def test_the_page_names_nothing_that_lies_elsewhere() -> None:
    text = page.html_of({"title": "x"})
    assert not re.search(r"(src|href)\s*=\s*[\"']?(?!#)", re.sub(r"\bhref=\"#", "", text))
    assert "url(" not in text
    assert not re.search(r"^\s*(import|export)\s", text, re.MULTILINE)
    assert "default-src 'none'" in text


def test_images_are_kept_as_they_are_or_in_256_steps() -> None:
    whole = RNG.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
    found = samples.as_values(whole, None)
    assert (found["kind"], found["step"], found["low"], found["high"]) == ("image", 0, 0, 1)
    np.testing.assert_array_equal(unpacked(found["values"]), whole)
    real = RNG.uniform(-1, 3, (6, 5, 4, 1)).astype(np.float32)
    found = samples.as_values(real, None)
    back = found["low"] + found["step"] * unpacked(found["values"])
    np.testing.assert_allclose(back, real, atol=found["step"] / 2 * 1.0001)
    assert found["step"] == pytest.approx((real.max() - real.min()) / 255, rel=1e-6)


def test_windows_share_one_series() -> None:
    values = RNG.normal(size=(50, 2)).astype(np.float32)
    windows = Windows(values, np.arange(10, 31, dtype=np.int32), 8)
    facts = Facts(("a", "b"), Scaling("zscore", (5.0, 6.0), (2.0, 3.0)), 8, 1)
    found = samples.as_values(windows, facts)
    series, starts = unpacked(found["values"]), unpacked(found["starts"])
    assert found["shape"] == [8, 2]
    assert (found["center"], found["width"]) == ([5.0, 6.0], [2.0, 3.0])
    for i in (0, 20):
        np.testing.assert_array_equal(series[starts[i] : starts[i] + 8], windows[i])
    alone = Windows(values, windows.starts, 8, standardize=True)
    found = samples.as_values(alone, facts)
    np.testing.assert_allclose(unpacked(found["values"])[3], alone[3])
    assert found["starts"] is None


def test_evenly_spaced_samples() -> None:
    assert samples.rows_of(5, 9).tolist() == [0, 1, 2, 3, 4]
    assert samples.rows_of(101, 3).tolist() == [0, 50, 100]


def test_labels_are_called_what_they_stand_for() -> None:
    found = columns.of_labels("class", np.array([2, 0, 2]), ("cat", "dog", "emu"))
    assert found.names is not None
    assert [found.names[i] for i in found.values] == ["emu", "cat", "emu"]
    assert columns.of_labels("class", np.array([1, 5]), ("cat", "dog")).names == ("dog", "5")
    assert columns.of_labels("class", np.array([7, -1])).names == ("-1", "7")
    assert columns.of_labels("id", np.arange(100)).names is None
    many = tuple(f"kind {i}" for i in range(100))
    assert columns.of_labels("kind", np.arange(100), many).names == many


def test_a_column_of_the_file_colours_the_samples_that_were_held_out(tmp_path: Path) -> None:
    rows = [f"{i / 7:.6f},{-i / 3:.6f},{'odd' if i % 2 else 'even'}" for i in range(50)]
    file = tmp_path / "x.csv"
    file.write_text("\n".join(["a,b,kind", *rows]) + "\n")
    name = f"{file}?label=kind"
    held_out = np.sort(np.random.RandomState(0).permutation(50)[:5])
    found = columns.of_file(name, "b", "test")
    np.testing.assert_allclose(found.values, -held_out / 3, atol=1e-5)
    words = columns.of_file(f"{file}?columns=a,b", "kind", "test")
    assert words.names is not None
    expected = ["odd" if i % 2 else "even" for i in held_out]
    assert [words.names[i] for i in words.values] == expected
    with pytest.raises(InputError, match="split hash"):
        columns.of_file(f"{file}?columns=a,b&split=hash", "kind", "test")
    with pytest.raises(InputError, match="unknown column"):
        columns.of_file(name, "c", "test")
    with pytest.raises(InputError, match="unknown column to colour by"):
        columns.of_file("mnist", "height", "test")
