"""CSV files: headers, blank lines, and faults by line number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from msae_jax import data
from msae_jax.errors import InputError


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "x.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "1,2.5\n-3,4e1\n",
        "a,b\n1,2.5\n-3,4e1\n",
        '\ufeff"a","b"\r\n\r\n1, 2.5\r\n"-3",40\r\n\r\n',
    ],
)
def test_numbers_with_or_without_a_header(tmp_path: Path, text: str) -> None:
    x = data.load_array(written(tmp_path, text))
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, [[1, 2.5], [-3, 40]])


def test_one_column_and_one_row_keep_their_axes(tmp_path: Path) -> None:
    assert data.load_array(written(tmp_path, "1\n2\n3\n")).shape == (3, 1)
    assert data.load_array(written(tmp_path, "1,2,3\n")).shape == (1, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3,x\n", r"x\.csv, line 3, column 2: 'x' is not a number"),
        ("1,2\n\n3,\n", "line 3, column 2: '' is not a number"),
        ("label,0,1\n5,6,7\n", "line 1, column 1: 'label' is not a number"),
        ("1,2\n3,4\n5\n", "line 3: 1 columns, expected 2 as in line 1"),
        ("a,b\n", "holds no numbers"),
        ("", "holds no numbers"),
        ("1,2\nnan,4\n", "first is sample 1"),
    ],
)
def test_faults_are_named_by_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        data.load_array(written(tmp_path, text))


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe1,2\n")
    with pytest.raises(InputError, match="cannot be read as text"):
        data.load_array(tmp_path / "x.csv")
