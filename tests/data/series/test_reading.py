"""Files of series: what is read, split and scaled, and the one line that says what is wrong."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from msae_jax import data
from msae_jax.data import facts
from msae_jax.data.options import Options, parse
from msae_jax.data.series import Facts, read
from msae_jax.data.series.scaling import Scaling
from msae_jax.data.series.series import resampled, seconds
from msae_jax.errors import InputError

HOURS = [f"2024-01-{1 + i // 24:02}T{i % 24:02}:00:00" for i in range(48)]


def csv(path: Path, rows: list[str], header: str = "time,a,b") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def hourly(path: Path, **changes: str) -> Path:
    """Writes 48 hours of two channels; a change replaces the row `h5` for hour 5."""
    rows = [changes.get(f"h{i}", f"{time},{i},{-2 * i}") for i, time in enumerate(HOURS)]
    return csv(path, [row for row in rows if row])


def opened(name: str) -> data.series.Series:
    return read(*parse(name))


def test_a_table_with_time_stamps(tmp_path: Path) -> None:
    path = hourly(tmp_path / "x.csv")
    series = opened(str(path))
    assert series.channels == ("a", "b")
    np.testing.assert_array_equal(series.values, np.arange(48)[:, None] * [1, -2])
    assert series.times is not None
    assert series.times[30] == np.datetime64("2024-01-02T06:00:00")
    assert opened(f"{path}?channels=b").channels == ("b",)
    dataset = data.load(f"{path}?window=6&stride=2")
    assert dataset.train.x.shape == (14, 6, 2)  # of 33 points
    assert dataset.test.x.shape == (5, 6, 2)  # of 15
    assert dataset.train.y is None


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (["0", "1", "2.5", "3"], [0, 1, 2.5, 3]),
        (["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"], [0, 86400, 172800, 259200]),
        (
            ["2024-01-01T00:00:00Z", "2024-01-01T02:00:00+01:00", "2024-01-01 03:00", "2024-01-02"],
            [0, 3600, 10800, 86400],
        ),
    ],
)
def test_kinds_of_time_stamps(times: list[str], expected: list[float], tmp_path: Path) -> None:
    path = csv(tmp_path / "x.csv", [f"{time},{i}" for i, time in enumerate(times)], "time,a")
    found = seconds(opened(f"{path}?time=time").times)
    np.testing.assert_allclose(found - found[0], expected)


def test_time_stamps_in_a_form_of_ones_own(tmp_path: Path) -> None:
    path = csv(tmp_path / "x.csv", ["31.12.2023 23:00,1", "01.01.2024 00:00,2"], "t,a")
    found = opened(f"{path}?time=t&time_format=%25d.%25m.%25Y %25H:%25M")
    assert np.diff(seconds(found.times)).tolist() == [3600]
    with pytest.raises(InputError, match=r"line 2, column 't': '31.12.2023 23:00' is no time"):
        opened(f"{path}?time=t")


def test_missing_cells_labels_and_decimal_commas(tmp_path: Path) -> None:
    rows = ["2024-01-01;1,5;0", "2024-01-02;;1", "2024-01-03;NaN;0", "2024-01-04;2,25;0"]
    series = opened(str(csv(tmp_path / "x.csv", rows, "date;a;is_anomaly")))
    np.testing.assert_array_equal(series.values[:, 0], [1.5, np.nan, np.nan, 2.25])
    assert series.labels is not None
    assert series.labels.tolist() == [0, 1, 0, 0]


def test_parquet_gives_what_csv_gives(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    times = np.array(HOURS, "datetime64[us]")
    values = [None if i == 3 else float(i) for i in range(48)]
    table = pa.table({"time": times, "a": values, "label": [i == 7 for i in range(48)]})
    parquet.write_table(table, tmp_path / "x.parquet")
    series = opened(str(tmp_path / "x.parquet"))
    assert series.channels == ("a",)
    np.testing.assert_array_equal(series.times, times)
    np.testing.assert_array_equal(series.values[:, 0], np.array(values, np.float32))
    assert series.labels is not None
    assert np.flatnonzero(series.labels).tolist() == [7]


@pytest.mark.parametrize(
    ("changes", "query", "message"),
    [
        ({}, "channels=c", "unknown column 'c'. Known: a, b, time."),
        ({}, "window=49", "--window 49 is longer than the series, 48 points"),
        ({}, "window=1", "window must be a whole number of at least 2, got '1'."),
        ({}, "scaling=zscor", "unknown scaling 'zscor'. Did you mean 'zscore'?"),
        ({}, "window=20", "33 training points, a gap of 0 and 15 test points do not each leave"),
        ({"h5": f"{HOURS[3]},5,6"}, "", "line 7: the time 2024-01-01T03:00:00.000000 comes before"),
        ({"h5": f"{HOURS[4]},5,6"}, "", "line 7: the time 2024-01-01T04:00:00.000000 is doubled"),
        ({"h5": f"{HOURS[5]},high,6"}, "", "line 7, column 'a': 'high' is not a number"),
        ({"h5": f"{HOURS[5]},1e39,6"}, "", "line 7, column 'a': infinity in float32"),
        ({"h5": "noon,5,6"}, "time=time", "line 7, column 'time': 'noon' is no time"),
        ({"h5": f"{HOURS[5]},5"}, "", "line 7: 2 columns, expected 3"),
    ],
)
def test_what_is_wrong_is_one_line(
    changes: dict[str, str], query: str, message: str, tmp_path: Path
) -> None:
    path = hourly(tmp_path / "x.csv", **changes)
    query = query if "window" in query else f"{query}&window=6"
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        data.load(f"{path}?{query}")
    assert "\n" not in str(caught.value)


def test_a_constant_channel_cannot_be_scaled(tmp_path: Path) -> None:
    path = csv(tmp_path / "x.csv", [f"{time},{i},5" for i, time in enumerate(HOURS)])
    with pytest.raises(InputError, match=r"channel 'b' is constant \(5\) in the training part"):
        data.load(f"{path}?window=6")
    assert data.load(f"{path}?window=6&scaling=none").train.x.values[:, 1].tolist() == [5] * 48


def test_irregular_steps_are_said_and_resampled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = hourly(tmp_path / "x.csv", h5="", h6="", h9=f"2024-01-01T09:20:00,30,{-60}")
    opened(str(path))
    assert "irregular: 3 of 45 steps are not 3600 s" in caplog.text
    assert "--resample 3600" in caplog.text
    series = opened(f"{path}?resample=3600")
    expected = np.arange(48, dtype=np.float32)
    expected[[5, 6]] = np.nan
    expected[9] = 30
    np.testing.assert_array_equal(series.values[:, 0], expected)
    assert series.times is not None
    assert (np.diff(series.times) == np.timedelta64(3600, "s")).all()


def test_resampling_takes_means_and_the_largest_label() -> None:
    from msae_jax.data.series.series import single

    values = np.array([1, 3, np.nan, 10, 4], np.float32)
    labels = np.array([0, 1, 0, 0, 0], np.int32)
    series = single(values, times=np.array([0, 1, 2, 4, 5.0]), labels=labels)
    got = resampled(series, 2)
    np.testing.assert_array_equal(got.values[:, 0], np.array([2, np.nan, 7], np.float32))
    assert got.labels is not None
    assert got.labels.tolist() == [1, 0, 0]
    assert got.times is not None
    assert got.times.tolist() == [0, 2, 4]


@pytest.mark.parametrize("kind", ["zscore", "robust"])
def test_scaling_is_learned_from_the_training_part_and_undone(kind: str, tmp_path: Path) -> None:
    x = np.random.RandomState(0).gamma(2, 50, (100, 2)).astype(np.float32)
    x[70:] *= 1000  # the test part says nothing
    np.save(tmp_path / "x.npy", x)
    dataset = data.load(f"{tmp_path / 'x.npy'}?window=8&layout=channels&scaling={kind}")
    train = x[:70].astype(np.float64)
    low, middle, high = np.percentile(train, [25, 50, 75], axis=0)
    center, width = (train.mean(0), train.std(0)) if kind == "zscore" else (middle, high - low)
    scaling = dataset.series.scaling
    np.testing.assert_allclose(scaling.center, center)
    np.testing.assert_allclose(scaling.width, width)
    values = dataset.train.x.values
    np.testing.assert_allclose(values, (x - center) / width, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(scaling.invert(values), x, rtol=1e-4)


def test_a_run_keeps_scaling_channels_and_window(tmp_path: Path) -> None:
    dataset = data.load(f"{hourly(tmp_path / 'x.csv')}?window=6")
    kept = facts.Facts.from_dict(facts.of(dataset).to_dict())
    assert kept.series is not None
    assert Facts.from_dict(kept.series) == dataset.series
    assert facts.of(data.load(f"{tmp_path / 'x.csv'}?window=6")).digest == kept.digest
    other = facts.of(data.load(f"{tmp_path / 'x.csv'}?window=6&stride=2"))
    assert other.digest != kept.digest
    broken = dict(kept.series, scaling={"kind": "zscore", "center": [1.0], "width": [0.0]})
    with pytest.raises(InputError, match="no facts of a series"):
        Facts.from_dict(broken)


def test_one_series_of_an_array_just_works(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.sin(np.arange(400) / 5))
    dataset = data.load(tmp_path / "x.npy")
    assert dataset.train.x.shape == (280 - 49, 50)


def test_an_array_of_two_axes_is_asked_about(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.RandomState(0).rand(60, 40).astype(np.float32))
    with pytest.raises(InputError, match=r"--layout channels takes it for one series of 40"):
        data.load(f"{tmp_path / 'x.npy'}?window=10")
    one = data.load(f"{tmp_path / 'x.npy'}?window=10&layout=channels")
    assert one.train.x.shape == (33, 10, 40)
    many = data.load(f"{tmp_path / 'x.npy'}?window=10&layout=series")
    assert many.train.x.shape == (54 * 31, 10)
    assert many.test.x.shape == (6 * 31, 10)


def test_series_of_a_collection_stay_on_one_side(tmp_path: Path) -> None:
    x = np.arange(20)[:, None, None] * np.ones((20, 12, 2)) + np.random.RandomState(0).rand(12, 2)
    np.savez(tmp_path / "x.npz", x=x.astype(np.float32), y=np.arange(20, dtype=np.int32))
    dataset = data.load(f"{tmp_path / 'x.npz'}?window=5&scaling=none")
    sides = [set(split.y.tolist()) for split in (dataset.train, dataset.test)]
    assert not sides[0] & sides[1]
    assert len(sides[1]) == 2
    for split in (dataset.train, dataset.test):
        windows = split.x.take(np.arange(len(split.x)))
        np.testing.assert_array_equal(np.floor(windows).max((1, 2)), split.y)


def test_rows_of_the_ucr_archive(tmp_path: Path) -> None:
    rows = [f"{1 + i % 2}\t" + "\t".join(map(str, np.arange(6) + i)) for i in range(10)]
    (tmp_path / "Set_TRAIN.tsv").write_text("\n".join(rows))
    series = opened(str(tmp_path / "Set_TRAIN.tsv"))
    assert series.count == 10
    assert series.labels is not None
    assert series.labels.tolist() == [1, 2] * 5
    (tmp_path / "Set_TEST.tsv").write_text("\n".join(rows[:4]).replace("\t", "   "))
    dataset = data.load(tmp_path / "Set_TRAIN.tsv")
    assert (len(dataset.train.x), len(dataset.test.x)) == (10, 4)


TS = """# about
@problemName Made
@timeStamps false
@univariate false
@classLabel true low high
@data
1,2,3:4,5,6:low
7,8:9,?:high
"""


def test_ts_files_of_unequal_length(tmp_path: Path) -> None:
    (tmp_path / "x.ts").write_text(TS)
    series = opened(str(tmp_path / "x.ts"))
    assert series.bounds.tolist() == [0, 3, 5]
    expected = [[1, 4], [2, 5], [3, 6], [7, 9], [8, np.nan]]
    np.testing.assert_array_equal(series.values, np.array(expected, np.float32))
    assert series.labels is not None
    assert series.labels.tolist() == [0, 1]
    dataset = data.load(f"{tmp_path / 'x.ts'}?scaling=none")
    assert dataset.train.x.shape == (1, 3, 2)
    assert dataset.train.x.masked
    assert dataset.classes == ("low", "high")
    (tmp_path / "y.ts").write_text(TS.replace("7,8:9,?", "7,8:9,x"))
    with pytest.raises(InputError, match=r"line 8: .*'x', expected numbers"):
        opened(str(tmp_path / "y.ts"))


def test_real_files(caplog: pytest.LogCaptureFixture) -> None:
    beside = Path(__file__).parents[4] / "shared" / "data"
    folder = Path(os.environ.get("MSAE_DATA_DIR") or beside) / "series"
    if not (folder / "aeon").is_dir():
        pytest.skip(f"no real series in {folder}: set MSAE_DATA_DIR")
    vowels = data.load(folder / "aeon/JapaneseVowels/JapaneseVowels_TRAIN.ts")
    assert vowels.train.x.shape == (270, 29, 12)
    assert vowels.test.x.shape == (370, 29, 12)
    assert vowels.train.x.masked
    taxi = data.load(f"{folder / 'nab/realKnownCause/nyc_taxi.csv'}?window=96&train_points=2579")
    assert len(taxi.train.x) == 2579 - 95
    assert len(taxi.test.x) == 10320 - 2579 - 95
    heart = opened(str(folder / "ecg5000/ECG5000_TRAIN.txt"))
    assert (heart.count, heart.values.shape) == (500, (70_000, 1))


def test_options_of_series_must_fit() -> None:
    for given, expected in [
        ({"stride": "0"}, "stride must be a whole number of at least 1"),
        ({"train_share": "1"}, "train_share must be a number between 0 and 1"),
        ({"resample": "-3"}, "resample must be seconds, a number above 0"),
        ({"gap": "1.5"}, "gap must be a whole number of at least 0"),
    ]:
        with pytest.raises(InputError, match=expected):
            Options(**given)


def test_a_scaling_of_one_window_at_a_time_is_not_learned() -> None:
    scaling = Scaling("window", (0.0,), (1.0,))
    np.testing.assert_array_equal(scaling.apply(np.array([[3.0]])), [[3.0]])


def test_three_axes_are_not_flattened_in_silence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    x = np.random.RandomState(0).rand(30, 24, 28).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    assert data.load(tmp_path / "x.npy").sample_shape == (24, 28)
    assert "--layout series takes it for 30 series of 24 points and 28 channels" in caplog.text
    dataset = data.load(f"{tmp_path / 'x.npy'}?layout=series&scaling=none")
    assert dataset.series.window == 24
    assert dataset.test.x.shape == (3, 24, 28)
