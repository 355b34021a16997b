"""CSV files as pandas, Excel, NumPy and spectrometers write them; faults by line and column."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from msae_jax import data
from msae_jax.data.options import named
from msae_jax.errors import InputError

RNG = np.random.default_rng(0)
FRACTIONS = RNG.random((50, 6)).round(4)
PIXELS = RNG.integers(0, 256, (50, 9))


def written(tmp_path: Path, text: str, encoding: str = "utf-8") -> Path:
    path = tmp_path / "x.csv"
    path.write_bytes(text.encode(encoding))
    return path


def as_pandas(x: np.ndarray, *, index: bool, sep: str = ",", decimal: str = ".") -> str:
    """What `pandas.DataFrame(x).to_csv(index=index, sep=sep, decimal=decimal)` gives."""
    head = [""] * index + [str(i) for i in range(x.shape[1])]
    rows = [
        [str(i)] * index + [str(value).replace(".", decimal) for value in row]
        for i, row in enumerate(x.tolist())
    ]
    return "".join(f"{sep.join(cells)}\n" for cells in [head, *rows])


def notes(caplog: pytest.LogCaptureFixture) -> str:
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) <= 1, "what is guessed about a file is one line"
    return "".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        "1,2.5\n-3,4e1\n",
        "a,b\n1,2.5\n-3,4e1\n",
        '\ufeff"a","b"\r\n\r\n1, 2.5\r\n"-3",40\r\n\r\n',
        "\n  \na,b\n1,+2.5\n   \n-3,40\n",
        "a,b\r1,2.5\r-3,40\r",
        "1,2.5,\n-3,40,\n",
        "a,b,\n1,2.5,\n-3,40,\n",
        "a;b\n1;2,5\n-3;40,0\n",
        "\ufeffa;b\r\n1;2.5\r\n-3;40\r\n",
        "sep=;\r\na;b\r\n1;2,5\r\n-3;40\r\n",
        "a\tb\n1\t2.5\n-3\t40\n",
        "1|2.5\n-3|40\n",
        'a,b\n"1","2,5"\n"-3","40,0"\n',
        "# a,b\n1,2.5\n-3,40\n",
        '"first\nname",b\n1,2.5\n-3,40\n',
    ],
)
def test_numbers_however_they_are_written(tmp_path: Path, text: str) -> None:
    x = data.load_array(written(tmp_path, text))
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, [[1, 2.5], [-3, 40]])


@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize("values", [FRACTIONS, PIXELS, FRACTIONS[:, :3]])
@pytest.mark.parametrize(("sep", "decimal"), [(",", "."), (";", ","), ("\t", ".")])
def test_pandas_output_neither_loses_nor_gains_a_row_or_a_column(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    values: np.ndarray,
    index: bool,
    sep: str,
    decimal: str,
) -> None:
    path = written(tmp_path, as_pandas(values, index=index, sep=sep, decimal=decimal))
    np.testing.assert_array_equal(data.load_array(path), values.astype(np.float32))
    said = caplog.records[0].getMessage()
    assert "is a header (--header)" in said
    assert f"50 samples of {values.shape[1]} features" in said
    assert ("is an index and is left out (--columns)" in said) == index
    assert ("separator" in said) == (sep != ",")


def test_wavelengths_are_a_header(tmp_path: Path) -> None:
    rows = "\n".join(",".join(map(str, row)) for row in FRACTIONS.tolist())
    for head in ["400,402,404,406,408,410", "400,405,410,415,420,425", "402,398,394,390,386,382"]:
        x = data.load_array(written(tmp_path, f"{head}\n{rows}\n"))
        assert x.shape == (50, 6), head


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (as_pandas(FRACTIONS[:, :2], index=False), "0,1, may be a header or a sample: --header"),
        (as_pandas(FRACTIONS[:, :1], index=False), "0, may be a header or a sample: --header yes"),
        (as_pandas(np.arange(12).reshape(3, 4), index=False), "may be a header or a sample"),
        ("3,1\n4,2\n", "'3,1' may be two whole numbers or one with a decimal comma: --separator"),
        ("x\n0,5\n0,7\n", "'0,5' may be two whole numbers"),
        ("a;b\n1,234;5\n2,345;7\n", "'1,234' may be a decimal mark or group thousands: --decimal"),
        ("0,.5\n1,.7\n2,.1\n3,.2\n", "column 1 counts the lines: --columns 2: leaves it out"),
    ],
)
def test_what_would_be_a_coin_toss_is_a_question(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        data.load_array(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "told", "expected"),
    [
        ("0,1\n.5,.7\n", {"header": "yes"}, [[0.5, 0.7]]),
        ("0,1\n.5,.7\n", {"header": "no"}, [[0, 1], [0.5, 0.7]]),
        ("0,1,2,3\n.5,.5,.5,.5\n", {"header": "no"}, [[0, 1, 2, 3], [0.5, 0.5, 0.5, 0.5]]),
        ("3,1\n4,2\n", {"separator": ","}, [[3, 1], [4, 2]]),
        ("3,1\n4,2\n", {"separator": "comma"}, [[3, 1], [4, 2]]),
        ("3,1\n4,2\n", {"decimal": ","}, [[3.1], [4.2]]),
        ("1,234;5\n2,345;7\n", {"decimal": ","}, [[1.234, 5], [2.345, 7]]),
        ("1.5 2\n3 4\n", {"separator": "space", "header": "no"}, [[1.5, 2], [3, 4]]),
        ("0,.5\n1,.7\n2,.1\n3,.2\n", {"columns": "2:"}, [[0.5], [0.7], [0.1], [0.2]]),
        ("0,.5\n1,.7\n2,.1\n3,.2\n", {"columns": ":"}, [[0, 0.5], [1, 0.7], [2, 0.1], [3, 0.2]]),
        ("a,b,c,d\n1,2,.3,x\n5,6,.7,y\n", {"columns": "b:c,a"}, [[2, 0.3, 1], [6, 0.7, 5]]),
        ('"a,b",c\n1,2\n3,4\n', {"columns": '"a,b"'}, [[1], [3]]),
    ],
)
def test_options_settle_it(tmp_path: Path, text: str, told: dict, expected: list) -> None:
    x = data.load_array(named(written(tmp_path, text), **told))
    np.testing.assert_array_equal(x, np.array(expected, np.float32))


def test_a_label_column_becomes_y(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    digit = np.arange(50) % 3
    columns = np.column_stack([FRACTIONS, digit])
    text = "\n".join(",".join(f"{v:g}" for v in row) for row in columns.tolist())
    path = written(tmp_path, f"a,b,c,d,e,f,digit\n{text}\n")
    dataset = data.load(named(path, label="digit"))
    assert dataset.sample_shape == (6,)
    assert dataset.name == f"{path}?label=digit"
    held_out = np.sort(np.random.RandomState(0).permutation(50)[:5])  # as for any file
    np.testing.assert_array_equal(dataset.test.x, FRACTIONS.astype(np.float32)[held_out])
    np.testing.assert_array_equal(dataset.test.y, digit[held_out])
    unlabelled = data.load(path)
    assert unlabelled.sample_shape == (7,)
    assert "column digit holds few whole numbers beside fractions" in caplog.messages[-1]


def test_a_column_that_is_called_label_is_guessed_aloud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path, "label,0,1\n5,6,7.5\n4,3,2.5\n")
    np.testing.assert_array_equal(data.load_array(path), [[6, 7.5], [3, 2.5]])
    assert "column 'label' holds labels and is no feature (--columns : keeps it)" in notes(caplog)
    assert data.load_array(f"{path}?columns=:").shape == (2, 3)


def test_labels_of_text_are_numbered(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(tmp_path, "a,species\n" + "1.5,dog\n2.5,cat\n" * 10)
    with pytest.raises(InputError, match=r"line 2, column 2: 'dog' .*--label species"):
        data.load(path)
    dataset = data.load(f"{path}?label=species")
    np.testing.assert_array_equal(dataset.train.x[:, 0] == 1.5, dataset.train.y == 1)
    assert "cat 0, dog 1" in notes(caplog)
    assert dataset.classes == ("cat", "dog")
    numbers = written(tmp_path, "a,species\n" + "1.5,4\n2.5,7\n" * 10)
    assert data.load(f"{numbers}?label=species").classes is None


def test_a_file_that_leaves_nothing_to_guess_says_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data.load_array(written(tmp_path, "1,2.5\n-3,4e1\n"))
    assert notes(caplog) == ""


def test_one_column_and_one_row_keep_their_axes(tmp_path: Path) -> None:
    assert data.load_array(written(tmp_path, "1\n2\n3\n")).shape == (3, 1)
    assert data.load_array(written(tmp_path, "1,2,3\n")).shape == (1, 3)


def test_a_text_becomes_the_nearest_float32(tmp_path: Path) -> None:
    """Just below the middle of two float32 numbers, which is itself the nearest float64."""
    x = data.load_array(written(tmp_path, "1.000000178813934326171874999,0.1,16777217\n"))
    np.testing.assert_array_equal(x, [[1 + 2.0**-23, np.float32(0.1), 16777216]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3,x\n", r"x\.csv, line 3, column 2: 'x' is not a number"),
        ("1,2\n\n3,\n", "line 3, column 2: '' is not a number"),
        ("name,3,1\n5,6,7\n", "line 1, column 1: 'name' is not a number; --header yes"),
        ("1,2\n3,4\n5\n", "line 3: 1 columns, expected 2 as in line 1"),
        ("a,b\n", "holds no numbers"),
        ("", "holds no numbers"),
        ("1,2\nnan,4\n", "first is sample 1"),
        ('a,b\n"1\n2",3\n4,5\n', r"line 2, column 1: '1\\n2' is not a number"),
        ('a,b\n"5","6"\n"1"2,3\n', "line 3: the quotes are not as expected"),
        ('a,b\n1,2\n3,"4\n5,6\n', "line 3: the quotes are not as expected"),
        ("1.5,2\n" + "x" * 200_000 + ",4\n", "line 2, column 1: 'xxxx"),
        ("1;2\n" * 150 + "1,5;2\n", "line 151, column 1: '1,5' .*; --decimal , reads"),
        ("1,2,\n3,4,\n" * 60 + "5,6,7\n", "line 1, column 3: '' is not a number"),
        ("1.5 2\n3 4\n", "'3 4' is not a number; --separator space parts it"),
        ("a,b\n1,2\n3,4_0\n", "line 3, column 2: '4_0' is not a number"),
        ("1,2\n0,\0\n", "cannot be read as text: it is binary"),
    ],
)
def test_faults_are_named_by_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        data.load_array(written(tmp_path, text))
    assert len(str(caught.value)) < 400


def test_cells_longer_than_the_csv_module_allows(tmp_path: Path) -> None:
    assert csv.field_size_limit() == 131_072
    x = data.load_array(written(tmp_path, f'a,b\n0.{"3" * 200_000},"4.5"\n'))
    np.testing.assert_array_equal(x, np.array([[1 / 3, 4.5]], np.float32))
    assert csv.field_size_limit() == 131_072


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"label": "z"}, "unknown column 'z'. Known: a, b."),
        ({"columns": "a,z"}, "unknown column 'z'"),
        ({"columns": "a,a"}, "columns must name each feature once, got 'a,a'"),
        ({"columns": "a", "label": "a"}, "no column is left for the features"),
        ({"label": "b"}, "column 'b' cannot be labels: expected whole numbers"),
    ],
)
def test_columns_that_cannot_be(tmp_path: Path, told: dict, message: str) -> None:
    path = written(tmp_path, "a,b\n1,2.5\n3,4\n")
    with pytest.raises(InputError, match=message):
        data.load_array(named(path, **told))


def test_other_encodings(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read as text: it is UTF-16, expected UTF-8"):
        data.load_array(written(tmp_path, "1,2\n", "utf-16"))
    path = written(tmp_path, "L\u00e4nge;Gr\u00f6\u00dfe\n1,5;2\n", "cp1252")  # German Excel's
    np.testing.assert_array_equal(data.load_array(named(path, columns="L\u00e4nge")), [[1.5]])


def test_pixels_of_a_csv_are_those_of_uint8(tmp_path: Path) -> None:
    path = written(tmp_path, as_pandas(PIXELS, index=False))
    x = data.load_array(named(path, scale="255"))
    assert x.dtype == np.uint8  # so that the losses are the same bits as of an .npy of uint8
    np.testing.assert_array_equal(x, PIXELS)
