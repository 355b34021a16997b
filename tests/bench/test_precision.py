"""Training in bfloat16 beside PyTorch's autocast: gradients of a step, and the bench of both."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from typer.testing import CliRunner

from msae_jax import bench, train
from msae_jax.cli.app import app
from msae_jax.config import ModelConfig, TrainConfig
from msae_jax.data import Dataset, Split
from msae_jax.interop import mapping
from msae_jax.models import find_layout
from msae_jax.system import precision
from msae_jax.train.gradient import gradient_of
from msae_jax.train.products import with_products_in

pytestmark = pytest.mark.usefixtures("all_quick_to_compile")

DENSE = TrainConfig(
    ModelConfig("baseline", {"hidden": [32], "latent_dim": 8, "activation": "tanh"}),
    batch_size=32,
    precision="bfloat16",
)
CONVOLUTIONAL = replace(
    DENSE, model=ModelConfig("conv", {"channels": [8, 8, 16], "activation": "tanh"})
)


@pytest.mark.parametrize(
    ("settings", "shape", "bound"),
    [(DENSE, (24,), 2**-7), (CONVOLUTIONAL, (8, 8, 1), 2**-6)],
    ids=["dense", "conv"],
)
def test_gradients_are_those_of_autocast(
    settings: TrainConfig, shape: tuple[int, ...], bound: float
) -> None:
    """The loss to 2^-8, and the gradient of all parameters to a bound of its length.

    bfloat16 has 2^-9, the errors of eight layers and of batch norm add up, and PyTorch rounds
    results as well. Without a ReLU: where its input is near zero, the sides may round it to
    different signs, and gradients jump.
    """
    pytest.importorskip("torch")
    from msae_jax.bench import torch_loops

    x = np.random.default_rng(0).uniform(size=(32, *shape)).astype(np.float32)
    task = train.make_task(settings, Dataset("x", Split(x), Split(x)))
    state = train.init_state(task, 0, shape)
    ours = jax.jit(with_products_in("bfloat16", functools.partial(gradient_of, task)))
    gradient, _ = ours(state, x, x, None)
    loop = torch_loops.Plain(settings, task, state, x)
    [(_, result, loss)] = loop.steps(np.arange(32))
    assert float(gradient.metrics.loss) == pytest.approx(float(loss), rel=2**-8)
    assert str(result.recon.dtype) == "torch.float32"
    entries = mapping.table(find_layout(settings.model.name), task.model)
    of_params = {"params": gradient.of_params, "batch_stats": state.batch_stats}
    named = mapping.to_state_dict(entries, jax.tree.map(np.asarray, of_params), "the gradients")
    theirs = {name: p.grad.numpy() for name, p in loop.module.named_parameters()}
    apart = np.sqrt(sum(np.square(named[name] - grad).sum() for name, grad in theirs.items()))
    size = np.sqrt(sum(np.square(grad).sum() for grad in theirs.values()))
    assert apart < bound * size, apart / size


def test_the_bench_times_both_in_bfloat16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "peaks", lambda: bench.Peaks(100.0, {2**20: 10.0}))
    monkeypatch.setattr(precision, "missing", lambda *_: "no units")
    out = tmp_path / "bench.json"
    options = ["--steps", "2", "--repeats", "1", "--no-compiled", "--precision", "bfloat16"]
    done = CliRunner().invoke(app, ["bench", "baseline", *options, "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "msae: warning: no units: the precision bfloat16" in done.output
    [row] = json.loads(out.read_text())["results"]
    assert (row["task"], row["precision"], row["agree"]) == ("train", "bfloat16", True)
    assert "| baseline | train, bfloat16 | 128 |" in done.output


@pytest.mark.parametrize("arguments", [["--task", "inference"], ["model.pt2"]])
def test_the_bench_refuses_it_of_what_does_not_train_by_name(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, ["bench", *arguments, "--precision", "bfloat16"])
    assert done.exit_code
    assert "--precision bfloat16 is for the training of models by name" in str(done.exception)
