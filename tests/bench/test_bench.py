from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import jax
import pytest
from typer.testing import CliRunner

from msae_jax import bench, models
from msae_jax.cli.app import app
from msae_jax.errors import InputError
from msae_jax.recipes import published, recipe

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


@pytest.fixture(autouse=True)
def _one_thread_and_seed() -> Iterator[None]:
    """On a busy machine PyTorch's threads wait for each other, many times as long as they work."""
    if importlib.util.find_spec("torch") is None:
        yield
        return
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", BY_HAND)
def test_operations_are_those_counted_by_hand(name: str) -> None:
    found = bench.operations(models.build(recipe(name).model))
    assert found.forward == BY_HAND[name]
    assert found.training == 3 * BY_HAND[name] - FIRST[name]


def test_operations_of_a_latent_leave_out_the_decoder() -> None:
    assert bench.operations(models.build(recipe("baseline").model)).encode == 2 * (
        128 * 128 + 128 * 64
    )


def test_peaks_count_two_operations_a_product_and_two_ways_an_update(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = importlib.import_module("msae_jax.bench.peaks")
    monkeypatch.setattr(module, "SIZE", 1000)
    monkeypatch.setattr(module, "SETS", (4000, 40_000))
    monkeypatch.setattr(module, "MOVED", 20_000)
    made: list[jax.Array] = []

    def timed(call: Callable[[], jax.Array], seconds: float) -> float:
        made.append(call())
        return made[-1].size * 1e-9

    monkeypatch.setattr(module, "_fastest", timed)
    found = module.peaks.__wrapped__()
    assert found.matmul == pytest.approx(2e9 / 1e-3 / 1e9)  # 1000 products for each of 1e6 values
    # float32, read and written: 5 passes over 1000 values in 1 us, one over 10,000 in 10 us
    assert found.memory == pytest.approx({4000: 5 * 8e3 / 1e-6 / 1e9, 40_000: 8e4 / 1e-5 / 1e9})
    assert [float(array.min()) for array in made[1:]] == [6.0, 2.0]  # each pass adds 1


def test_a_working_set_has_the_bandwidth_of_the_next_larger_one_measured() -> None:
    limits = bench.Peaks(matmul=1.0, memory={2**20: 90.0, 2**24: 40.0, 2**28: 10.0})
    sizes = (0, 2**20, 2**20 + 1, 2**24, 2**27, 2**30)
    assert [limits.bandwidth(size) for size in sizes] == [90.0, 90.0, 40.0, 40.0, 10.0, 10.0]
    assert limits.bandwidth() == 10.0


def test_the_fastest_run_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of 3, 1 and 2 seconds by a clock of the test's own; the first, uncounted, compiles."""
    module = importlib.import_module("msae_jax.bench.peaks")
    clock, runs = iter([0.0, 0.0, 3.0, 3.0, 4.0, 4.0, 6.0, 6.0]), []
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))
    assert module._fastest(lambda: runs.append(5), 6.0) == 1.0
    assert runs == [5] * 4


def test_bench_needs_no_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = bench.bench(recipe("baseline"), steps=3, repeats=2)
    assert (result.samples, list(result.seconds)) == (192, ["ours"])
    assert len(result.seconds["ours"]) == 2
    assert result.fastest is None
    weights_and_moments = 3 * 4 * 49_600
    assert result.traffic == 192 * 128 * 4 + 3 * 2 * (weights_and_moments + 4)  # and Adam's count
    with pytest.raises(InputError, match="at least 1"):
        bench.bench(recipe("baseline"), repeats=0)
    results = bench.bench_inference(recipe("baseline"), steps=1, repeats=2)
    assert [(r.task, r.samples, list(r.seconds)) for r in results] == [
        (task, 500, ["ours"]) for task in ("evaluate", "embed", "reconstruct")
    ]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("baseline", "sines"),
        ("pyramid-vae", "sines"),
        pytest.param("lgta", "sines", marks=pytest.mark.slow),
        pytest.param("conv", "digits", marks=pytest.mark.slow),
    ],
)
def test_all_sides_learn_alike(name: str, data: str) -> None:
    """From the same weights, in the same order."""
    pytest.importorskip("torch")
    settings = replace(recipe(name), data=data)
    result = bench.bench(settings, steps=6, repeats=3, compiled=False)
    assert set(result.seconds) == {"ours", "plain", "tuned"}
    assert result.agree, result.apart
    assert result.fastest in ("plain", "tuned")
    limits = bench.Peaks(matmul=100.0, memory={2**40: 10.0})
    assert result.share(limits) == pytest.approx(result.operations / result.median() / 1e9 / 100.0)
    assert f"| {result.ratio:.2f} |" in bench.table([result], limits)
    assert result.bandwidth_share(limits) == result.traffic / result.median() / 1e9 / 10.0
    assert not replace(result, apart=result.apart | {"tuned": 2 * result.tolerance}).agree


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("baseline", "sines"),
        ("vae3", "digits"),
        ("lgta", "sines"),
        *(
            pytest.param(name, "sines" if name == "msae" else "digits", marks=pytest.mark.slow)
            for name in ("msae", "msae-mlp", "ae5", "conv", "superres")
        ),
    ],
)
def test_both_sides_infer_alike(name: str, data: str) -> None:
    """To float32; the sampled nats of `vae3` to their noise."""
    pytest.importorskip("torch")
    results = bench.bench_inference(replace(recipe(name), data=data), steps=1, repeats=1)
    for result in results:
        assert set(result.seconds) == {"ours", "eager"}
        assert result.apart["eager"] < (1e-3 if name == "vae3" else 1e-5), result
    assert "| embed |" in bench.table(results, bench.Peaks(100.0, {2**20: 10.0}))


@pytest.mark.parametrize("name", published())
def test_every_pytorch_module_gives_latents(name: str) -> None:
    """What `embed` is timed beside."""
    pytest.importorskip("torch")
    settings = recipe(name)
    shape = (128,) if settings.data == "sines" else (28, 28, 1)
    assert callable(models.reference(name, models.build(settings.model, shape)).encode)


def test_the_command_writes_what_it_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "peaks", lambda: bench.Peaks(100.0, {2**20: 10.0}))
    out = tmp_path / "new" / "bench.json"
    options = ["--steps", "2", "--repeats", "1", "--no-compiled", "--out", str(out)]
    done = CliRunner().invoke(app, ["bench", "baseline", *options])
    assert done.exit_code == 0, done.output
    [row] = json.loads(out.read_text())["results"]
    assert row["model"] == "baseline"
    assert f"| baseline | train | 128 | {row['seconds']['ours'][0]:.4g} (" in done.output


def test_the_command_times_inference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "peaks", lambda: bench.Peaks(100.0, {2**20: 10.0}))
    out = tmp_path / "bench.json"
    options = ["--task", "inference", "--steps", "1", "--repeats", "1", "--out", str(out)]
    done = CliRunner().invoke(app, ["bench", "baseline", *options])
    assert done.exit_code == 0, done.output
    rows = json.loads(out.read_text())["results"]
    assert [row["task"] for row in rows] == ["evaluate", "embed", "reconstruct"]
    assert all(row["batch_size"] == 500 for row in rows)
