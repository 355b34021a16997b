"""What the study of time series concludes, and how it reads its files."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from msae_jax import models
from msae_jax.config import ModelConfig, TrainConfig
from msae_jax.data import Dataset, Split
from msae_jax.errors import InputError
from msae_jax.experiments import series_detection, series_files, series_reconstruction
from msae_jax.experiments.study import Setup


def test_missing_series_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MSAE_DATA_DIR", raising=False)
    with pytest.raises(InputError, match="--data-dir or MSAE_DATA_DIR; it looks for ecg5000/"):
        series_files.folder(None)
    for name in list(series_files.SOURCES)[1:]:
        (tmp_path / "series" / name).mkdir(parents=True)
    with pytest.raises(InputError, match=r"series lacks ecg5000/ \(UCR archive"):
        series_files.folder(tmp_path)
    (tmp_path / "series" / "ecg5000").mkdir()
    assert series_files.folder(tmp_path) == tmp_path / "series"


def errors(pyramid: float, flat: float, dense: float, pca: float) -> dict[str, np.ndarray]:
    noise = np.linspace(-0.01, 0.01, 16)
    means = {"pyramid": pyramid, "pyramid-flat": flat, "baseline": dense}
    return {name: mean + np.roll(noise, 5 * i) for i, (name, mean) in enumerate(means.items())} | {
        "pca": np.array([pca])
    }


def test_a_set_is_won_in_each_of_its_settings_against_each_rival() -> None:
    won = errors(0.5, 1.0, 1.0, 2.0)
    behind_pca = errors(0.5, 1.0, 1.0, 0.4)
    equal = errors(0.5, 0.5, 1.0, 2.0)
    found = {"ecg5000-8": won, "ecg5000-32": behind_pca, "nyc-taxi": won, "etth1": equal}
    claims = {claim.id: claim for claim in series_reconstruction.verdicts(found)}
    total = claims["series-pyramid-wins"]
    assert (total.values, total.why.split(";")[0]) == ([1.0], "nyc-taxi")
    below = claims["series-ecg5000-32-pyramid-below-pca"]
    np.testing.assert_allclose(below.mean, -25.0, atol=0.1)
    assert "after Holm's correction for 12 comparisons" in below.why


def test_controls_have_the_latents_and_the_parameters_of_the_pyramid() -> None:
    x = np.zeros((130, 140), np.float32)
    setting = series_reconstruction.SETTINGS["ecg5000-8"]
    chosen = series_reconstruction.configurations(setting, Dataset("x", Split(x), Split(x[:9])))
    counts = {}
    for name, settings in chosen.items():
        assert settings.model.options["latent_dim"] == 8
        built = models.build(settings.model, (140,))
        counts[name] = models.parameter_count(built, (140,))
    for name in ("baseline", "pyramid-flat"):
        assert counts[name] == pytest.approx(counts["pyramid"], rel=0.01)
    assert chosen["pyramid"].epochs == 667  # of 3 steps


def test_labels_leave_out_the_start_of_a_window(tmp_path: Path) -> None:
    name = series_detection.SERIES["013"]
    path = tmp_path / "nab" / name
    path.parent.mkdir(parents=True)
    days = [f"2015-01-{day:02} 00:00:00" for day in range(1, 29)]
    path.write_text("timestamp,value\n" + "".join(f"{d},{i}\n" for i, d in enumerate(days)))
    marked = {name: [[days[5], days[8]]]}
    (tmp_path / "nab" / "combined_windows.json").write_text(json.dumps(marked))
    values, labels, _ = series_detection.read(tmp_path, "013")
    assert values.tolist() == list(range(1, 28))  # without the first row
    assert np.flatnonzero(labels).tolist() == [5, 6, 7]  # days 7 to 9


def test_published_methods_are_read_by_the_number_of_the_series(tmp_path: Path) -> None:
    methods = [f"m{i}" for i in range(series_detection.METHODS)]
    rows = [["file", *methods, "ts_len"], ["013_NAB_id_13_Traffic_tr_623_1st_2084.csv"]]
    rows[1] += [str(i / 100) for i in range(len(methods))] + ["2500"]
    rows.append(["013_UCR_id_1.csv", *["9"] * len(methods), "1"])
    (tmp_path / "tsb_ad").mkdir()
    text = "\n".join(",".join(row) for row in rows)
    (tmp_path / "tsb_ad" / "uni_mergedTable_VUS-PR.csv").write_text(text + "\n")
    found = series_detection.table(tmp_path)
    assert found["m7"] == {"013": 0.07}
    assert len(found) == series_detection.METHODS


def test_a_window_has_many_points_but_half_of_the_prefix_at_most() -> None:
    lengths = [series_detection.window_length(*of) for of in ((1000, 20), (1000, 200), (600, 250))]
    assert lengths == [250, 300, 300]
    assert series_detection.window_length(2579, 48) == 500


@pytest.mark.slow
def test_a_brief_run_trains_as_any_other_and_its_test_error_is_that_of_the_whole_split(
    tmp_path: Path,
) -> None:
    x = np.random.default_rng(0).normal(size=(13, 8)).astype(np.float32)
    dataset = Dataset("x", Split(x[:8]), Split(x[8:]))
    setup = Setup(2, tmp_path / "out", tmp_path / "runs")
    model = ModelConfig("baseline", {"latent_dim": 2, "hidden": [4]})
    settings = TrainConfig(model, data="x", epochs=5, batch_size=4)
    whole, brief = (setup.train(str(b), settings, dataset, brief=b) for b in (False, True))
    for seed in range(2):
        jax.tree.map(np.testing.assert_array_equal, whole.variables(seed), brief.variables(seed))
    assert len(list((tmp_path / "runs" / "True" / "checkpoints").glob("[0-9]*"))) == 1
    found = series_reconstruction._test_errors(setup, "True", brief, dataset)
    np.testing.assert_allclose(found, whole.final("test_mse"), rtol=1e-6)
    assert not np.allclose(brief.final("test_mse"), found)  # of one sample
