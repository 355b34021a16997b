"""Reports: every part is there with the right numbers, nothing is loaded, nothing is run."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from msae_jax import data
from msae_jax.config import ModelConfig, TrainConfig
from msae_jax.data import Dataset
from msae_jax.errors import InputError
from msae_jax.export.certificate import BatchCheck, ExportCertificate
from msae_jax.interop.verification.certificate import Certificate, Check
from msae_jax.report import document
from msae_jax.report.page import POLICY
from msae_jax.report.samples import Shown
from msae_jax.results import compare
from msae_jax.train.seeds import Member
from tests.report.conftest import DIVERGED, NAME, Runs, write_run

VOID = ("meta", "br", "hr")
TWO = Shown(most=2)


class Page(HTMLParser):
    """The text of each section, and every attribute; fails where elements are not nested."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.texts: dict[str, str] = {"": ""}
        self.attributes: list[tuple[str, str, str]] = []
        self.ids: list[str] = []
        self.images: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        found = dict(attrs)
        self.ids += [found["id"]] if found.get("id") else []
        if tag == "svg":
            self.images.append(found["aria-label"] or "")
        if tag == "h2":
            self.headings.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "h2":
            self.texts[self.headings[-1]] = ""

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        if "h2" in self.open:
            self.headings[-1] += data
        else:
            self.texts[next(reversed(self.texts))] += f"{data}\n"

    @property
    def text(self) -> str:
        return "\n".join(self.texts.values())


def written(tmp_path: Path, paths: Sequence[Path], **options) -> Page:
    out = tmp_path / "report.html"
    document.write(out, paths, **({"shown": TWO} | options))
    text = out.read_text(encoding="utf-8")
    page = Page(text)
    assert not re.search(r"https?://", text)
    assert {tag for tag, _, _ in page.attributes} & {"script", "iframe", "link", "base"} == set()
    for tag, name, value in page.attributes:
        assert not name.startswith("on")
        if name in ("src", "href", "xlink:href", "action", "srcset", "data"):
            assert value.startswith(("#", "data:image/png;base64,")), (tag, name)
        assert "url(" not in value or value.startswith("url(#") or "url(#" in value
    assert ("meta", "content", POLICY) in page.attributes
    assert len(set(page.ids)) == len(page.ids)
    return page


def logged(run: Path, metric: str) -> np.ndarray:
    """Returns a metric `[seeds, epochs]` as the run has logged it."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    seeds = list(dict.fromkeys(line["seed"] for line in lines))
    return np.array([[x[metric] for x in lines if x["seed"] == seed] for seed in seeds])


def interval(values: np.ndarray) -> tuple[float, float]:
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return values.mean() - half, values.mean() + half


def test_a_run_of_seeds_has_every_part_with_its_numbers(runs: Runs, tmp_path: Path) -> None:
    page = written(tmp_path, [runs.many], command="msae report many")
    assert page.headings == ["Results", "Configuration", "Environment", "How to repeat it"]
    results = page.texts["Results"]
    for metric in ("train_mse", "test_mse", "test_nats"):
        final = logged(runs.many, metric)[:, -1]
        low, high = interval(final)
        assert f"{final.mean():.5g}\n{low:.5g} to {high:.5g}\n{final.std(ddof=1):.5g}" in results
    for value in logged(runs.many, "test_mse")[:, -1]:
        assert f"finished, 2 epochs\n{value:.5g}" in results
    assert "MSE of the training and the test split against the epoch, 3 seeds" in page.images
    assert sum("the original and its reconstruction" in said for said in page.images) == 2
    assert "sample 0" in " ".join(page.images)
    assert "float32" in results
    changed = page.texts["Configuration"]
    assert re.search(r"model\.options\.hidden\n● \[8\] \n\(recipe: the model's default\)", changed)
    assert re.search(r"batch_size\n● 32 \n\(recipe: 64\)", changed)
    assert "optimizer.learning_rate\n0.001\n" in changed
    assert "jax\n" in page.texts["Environment"]
    assert "msae train --model baseline" in page.texts["How to repeat it"]
    assert "msae report many" in page.texts["How to repeat it"]


def test_reconstructions_are_drawn_with_their_errors(runs: Runs, tmp_path: Path) -> None:
    """The errors in the titles are those of the model, computed here without the report."""
    from msae_jax import weights

    page = written(tmp_path, [runs.one])
    loaded = weights.load_weights(runs.one)
    x = data.load(runs.data).test.x[[0, -1]]
    made = np.asarray(loaded.model.apply(loaded.variables, x).recon)
    found = [float(text) for text in re.findall(r", MSE ([\d.e-]+)", page.texts["Results"])]
    np.testing.assert_allclose(found, np.square(made - x).mean(axis=1), rtol=1e-3)


def test_one_seed_is_no_result_and_gets_no_verdict(runs: Runs, tmp_path: Path) -> None:
    page = written(tmp_path, [runs.one, runs.many])
    assert "one is not compared: " in page.text
    assert "one seed is never a result" in page.text
    assert "One seed is not a result" in page.texts["one"]
    assert "no two of these runs can be compared" in page.texts["Comparison"]
    assert "beats" not in page.text


def test_two_runs_get_the_verdict_of_compare_and_names_are_escaped(
    runs: Runs, tmp_path: Path
) -> None:
    page = written(tmp_path, [runs.many, runs.wide])
    sides = [compare.side_of(run) for run in (runs.many, runs.wide)]
    verdict = compare.compare(*sides)
    assert page.texts[""].count(verdict.sentence[1:]) == 1
    comparison = page.texts["Comparison"]
    for line in verdict.unfair:
        assert f"not a fair comparison: {line}" in comparison
    a, b = (logged(run, "test_mse")[:, -1] for run in (runs.many, runs.wide))
    assert f"difference\n{(a - b).mean():.5g}\n" in comparison
    low, high = interval(a - b)
    assert f"{low:.4g} to {high:.4g}" in comparison
    assert NAME in page.headings  # as text, and Page saw no such element


def test_three_runs_are_corrected_for_three_comparisons(runs: Runs, tmp_path: Path) -> None:
    page = written(tmp_path, [runs.many, runs.wide, runs.halfway])
    assert "corrects p for 3 comparisons" in page.texts["Comparison"]
    assert "many trained 2 epochs, halfway 1" in page.texts["Comparison"]


def test_sources_are_split(runs: Runs, tmp_path: Path) -> None:
    page = written(tmp_path, [runs.sources])
    lines = [json.loads(x) for x in (runs.sources / "metrics.jsonl").read_text().splitlines()]
    last = [line for line in lines if line["epoch"] == 2]
    for source in ("init", "order"):
        values = [line["test_mse"] for line in last if line["vary"] == source]
        assert f"{source}\n2\n{np.std(values, ddof=1):.5g}\n" in page.texts["Results"]
    assert "share of the variance" in page.texts["Results"]
    assert "0, varies init" in page.texts["Results"]
    assert "--vary init,order --seeds 2" in page.texts["How to repeat it"]


def test_a_sweep_has_its_points(runs: Runs, tmp_path: Path) -> None:
    page = written(tmp_path, [runs.grid])
    for dim in (2, 3):
        log = (runs.grid / f"latent_dim={dim}" / "metrics.jsonl").read_text().splitlines()
        for rate in (0.001, 0.01):
            lines = map(json.loads, log)
            here = [line["test_mse"] for line in lines if line["learning_rate"] == rate]
            point = f"model.options.latent_dim={dim}, optimizer.learning_rate={rate}"
            assert f"{point}: test MSE {np.mean(here):.5g} " in page.texts[""]
    assert "● 2, 3 " in page.texts["Configuration"]
    assert "--sweep latent_dim=2,3 --sweep optimizer.learning_rate=0.001,0.01" in page.text


def test_diverged_and_interrupted_runs_are_said_in_words(runs: Runs, tmp_path: Path) -> None:
    page = written(tmp_path, [runs.diverged, runs.halfway, runs.begun])
    lead = page.texts[""]
    for seed in range(3):
        assert f"diverged, seed {seed} diverged: {DIVERGED}." in lead
    assert "test MSE of no seed" in lead
    assert "halfway: all 3 seeds are unfinished: 1 of 3 epochs." in lead
    assert "halfway was interrupted or still trains: msae train --resume goes on" in lead
    assert "begun: There is no finished checkpoint yet" in lead
    assert "There is nothing to reconstruct with" in page.texts["begun"]
    final = logged(runs.begun, "test_mse")[:, -1]
    assert f"{final.mean():.5g}" in page.texts["begun"]


def certificate(passed: bool) -> Certificate:
    check = Check("outputs", "recon <i>", 2e-7, 1e-7, "relative", 3e-7, 1e-7, 1e-5, 1e-5, passed)
    return Certificate({"file": "<script>"}, {"device": "CPU"}, {"finite": (True, "all")}, [check])


@pytest.mark.parametrize("passed", [True, False])
def test_a_certificate_is_shown_and_judged_by_its_checks(
    runs: Runs, tmp_path: Path, passed: bool
) -> None:
    file = tmp_path / "certificate.json"
    values = certificate(passed).to_dict() | {"passed": True}  # what it says of itself
    file.write_text(json.dumps(values))
    page = written(tmp_path, [runs.begun], certificate_files=[file])
    shown = page.texts["Certificates"]
    assert ("NOT VERIFIED" in shown) is not passed
    assert "recon <i>\n2.00e-07\n3.0e-07\n1.0e-05" in shown
    assert "file\n<script>" in shown


def test_a_certificate_of_an_export_is_shown_beside_it(runs: Runs, tmp_path: Path) -> None:
    checks = [BatchCheck(1, 2e-7, 3e-6), BatchCheck(7, 4e-4, float("nan"))]
    subject = {"file": "<i>.onnx", "input": {"dtype": "float32", "shape": ["batch", 64]}}
    exported = ExportCertificate(subject, {"versions": {"onnx": "1.23"}}, checks)
    files = [tmp_path / "verify.json", tmp_path / "decoder.onnx.json"]
    for file, values in zip(files, [certificate(True), exported], strict=True):
        file.write_text(json.dumps(values.to_dict() | {"passed": True}))
    shown = written(tmp_path, [runs.begun], certificate_files=files).texts["Certificates"]
    first, second = shown.split("decoder.onnx.json")
    assert "NOT VERIFIED" not in first
    assert "NOT VERIFIED" in second
    assert "batch of 1\nholds\n2.0e-07\n3.0e-06" in second
    assert "batch of 7\nFAILS\n4.0e-04\nnan" in second
    assert "file\n<i>.onnx" in second
    assert "input\ndtype float32, shape [batch, 64]" in second
    assert "versions\nonnx 1.23" in second


def test_code_that_a_run_names_does_not_run(runs: Runs, tmp_path: Path) -> None:
    """A checkpoint cannot be forged here without its digest; a run without one can."""
    run = tmp_path / "foreign"
    run.mkdir()
    settings = json.loads((runs.begun / "config.json").read_text())
    settings["model"]["name"], settings["data"] = "trap_of_report:Model", "trap_of_report:data"
    (run / "config.json").write_text(json.dumps(settings))
    (tmp_path / "trap_of_report.py").write_text("raise SystemExit('it ran')")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        page = written(tmp_path, [run])
    assert "The recipe of foreign is not known here" in page.texts["Configuration"]
    assert "has not finished an epoch" in page.text


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"paths": []}, "no run directory given"),
        ({"paths": ["missing"]}, "missing does not exist: expected a run directory"),
        ({"out": "report.txt"}, "--out must end in .html"),
        ({"metric": "test_mes"}, "Did you mean 'test_mse'"),
        ({"certificate_files": ["none.json"]}, "none.json does not exist"),
        ({"paths": ["empty"]}, "neither a run directory"),
    ],
)
def test_bad_input_is_an_error_before_anything_is_written(
    runs: Runs, tmp_path: Path, change: dict, expected: str
) -> None:
    (tmp_path / "empty").mkdir()
    options = {"paths": None, "out": "report.html", "metric": "test_mse", "certificate_files": []}
    options |= change
    paths = [runs.begun] if options["paths"] is None else [tmp_path / p for p in options["paths"]]
    files = [tmp_path / name for name in options["certificate_files"]]
    with pytest.raises(InputError, match=re.escape(expected)):
        document.write(
            tmp_path / options["out"], paths, metric=options["metric"], certificate_files=files
        )
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_a_damaged_certificate_is_one_line(runs: Runs, tmp_path: Path) -> None:
    file = tmp_path / "certificate.json"
    damaged = ("[", "[]", '{"facts": {}, "checks": [{}], "conditions": {}}', "{}", "5")
    beyond = '"conditions": {}, "checks": [{"batch": %s, "max_abs": %s, "relative": 0}]}'
    more = ["{" + beyond % ("Infinity", 0), "{" + beyond % (1, "1" + 400 * "0")]
    for text in (*damaged, '{"checks": [], "conditions": {}}', *more):
        file.write_text(text)
        with pytest.raises(InputError, match=r"is no certificate that msae verify"):
            document.write(tmp_path / "r.html", [runs.begun], certificate_files=[file])


def test_windows_of_a_series_are_drawn_in_the_users_units(tmp_path: Path) -> None:
    """The channel lies about 5,000; the model sees it about 0."""
    t = np.arange(400)
    values = 5000 + 100 * np.sin(t / 5)
    file = tmp_path / "level.csv"
    times = np.datetime64("2024-01-01T00:00:00") + t * np.timedelta64(1, "h")
    rows = [f"{time},{value}\n" for time, value in zip(times, values, strict=True)]
    file.write_text("time,level\n" + "".join(rows))
    name = f"{file}?window=16"
    dataset = data.load(name)
    settings = TrainConfig(ModelConfig("baseline", {"hidden": [4]}), data=name, epochs=1)
    write_run(tmp_path / "series", settings, [Member(0)], dataset)
    results = written(tmp_path, [tmp_path / "series"]).texts["Results"]
    first = int(dataset.test.x.starts[0])
    assert f"window from point {first}, MSE " in results
    assert "Values are in the units of the data; the model sees them scaled (zscore)." in results
    ticks = [float(text) for text in re.findall(r"^(\d{4})$", results, re.MULTILINE)]
    assert min(ticks) > 4000
    assert max(ticks) > 5000
    assert "channels\nlevel" in results


def test_images_are_drawn_above_their_reconstructions(images: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "images.npy"
    np.save(file, images.train.x)
    settings = TrainConfig(ModelConfig("ae5", {"hidden": [4, 4]}), data=str(file), epochs=1)
    write_run(tmp_path / "run", settings, [Member(0)], data.load(file))
    page = written(tmp_path, [tmp_path / "run"])
    last = len(data.load(file).test.x) - 1
    assert f"Originals above their reconstructions: sample 0, sample {last}." in page.images
    assert sum(tag == "image" for tag, name, _ in page.attributes if name == "xlink:href") == 4
