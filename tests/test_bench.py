from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from msae_jax import bench, models
from msae_jax.cli.app import app
from msae_jax.errors import InputError
from msae_jax.recipes import recipe

# Forward operations of a sample, by hand: 2 a kernel value and position.
BY_HAND = {
    "baseline": 2 * (128 * 128 + 128 * 64 + 64 * 128 + 128 * 128),
    "vae3": 2 * (784 * 400 + 2 * 400 * 20 + 20 * 400 + 400 * 784),
    "msae": 2 * 128 * (3 * 16 + 3 * 16 * 32 + 7 * 16 + 7 * 16 * 32)
    + 2 * (512 * 128 + 128 * 32 + 256 * 128 + 128 * 32 + 64 * 128 + 128 * 128),
    "conv": 2 * (14 * 14 * 9 * 32 + 49 * 9 * 32 * 64 + 49 * 9 * 64 * 128 + 2 * 6272 * 64)
    + 2 * (49 * 9 * 128 * 64 + 49 * 16 * 64 * 32 + 14 * 14 * 16 * 32),
}
# Of its layers that read the sample itself, whose gradient nobody needs.
FIRST = {
    "baseline": 2 * 128 * 128,
    "vae3": 2 * 784 * 400,
    "msae": 2 * 128 * (3 * 16 + 7 * 16),
    "conv": 2 * 14 * 14 * 9 * 32,
}


@pytest.mark.parametrize("name", BY_HAND)
def test_operations_are_those_counted_by_hand(name: str) -> None:
    found = bench.operations(models.build(recipe(name).model))
    assert found.forward == BY_HAND[name]
    assert found.training == 3 * BY_HAND[name] - FIRST[name]


def test_peaks_are_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("msae_jax.bench.peaks")
    monkeypatch.setattr(module, "SIZE", 256)
    monkeypatch.setattr(module, "VALUES", 2**20)
    found = module.peaks.__wrapped__()
    assert 0.1 < found.matmul < 1e6
    assert 0.01 < found.bandwidth < 1e5


def test_bench_needs_no_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = bench.bench(recipe("baseline"), steps=3, repeats=2)
    assert (result.samples, list(result.seconds)) == (192, ["ours"])
    assert len(result.seconds["ours"]) == 2
    assert result.fastest is None
    with pytest.raises(InputError, match="at least 1"):
        bench.bench(recipe("baseline"), repeats=0)


@pytest.mark.parametrize(("name", "data"), [("baseline", "sines"), ("conv", "digits")])
def test_all_sides_learn_alike(name: str, data: str) -> None:
    """From the same weights, over the same samples; each draws its own batches."""
    pytest.importorskip("torch")
    settings = replace(recipe(name), data=data)
    result = bench.bench(settings, steps=6, repeats=3, compiled=False)
    assert set(result.seconds) == {"ours", "plain", "tuned"}
    assert result.agree, result.losses
    assert result.fastest in ("plain", "tuned")
    limits = bench.Peaks(matmul=100.0, bandwidth=10.0)
    assert result.share(limits) == pytest.approx(result.operations / result.median() / 1e9 / 100.0)
    assert f"| {result.ratio:.2f} |" in bench.table([result], limits)
    assert not replace(result, losses=result.losses | {"tuned": 1e3}).agree


def test_the_command_writes_what_it_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "peaks", lambda: bench.Peaks(100.0, 10.0))
    out = tmp_path / "new" / "bench.json"
    options = ["--steps", "2", "--repeats", "1", "--no-compiled", "--out", str(out)]
    done = CliRunner().invoke(app, ["bench", "baseline", *options])
    assert done.exit_code == 0, done.output
    [row] = json.loads(out.read_text())["results"]
    assert row["model"] == "baseline"
    assert f"| baseline | 128 | {row['seconds']['ours'][0]:.4g} (" in done.output
