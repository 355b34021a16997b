"""The options of `msae train`, and the fields of the configuration that they set."""

from __future__ import annotations

import re
from typing import Any

import pytest
from typer.testing import CliRunner

from msae_jax.cli import training
from msae_jax.cli.app import app

RUNNER = CliRunner()
OPTIONS = {
    "--model", "--data", "--data-dir", "--out", "--resume", "--seed", "--seeds", "--vary",
    "--sweep", "--epochs", "--batch-size", "--learning-rate", "--lr", "--optimizer",
    "--schedule", "--clip-norm", "--likelihood", "--reduction", "--beta", "--patience",
    "--anneal-epochs", "--anneal-steps", "--free-bits", "--mmd", "--mmd-kernel", "--l1",
    "--contractive", "--accumulate", "--precision", "--weight-decay", "--no-decay", "--ema",
    "--init-from", "--freeze", "--image-size", "--adversarial", "--adversarial-weight",
    "--similarity", "--stop-metric", "--init", "--pipeline", "--checkpoint-every",
    "--best-metric", "--label", "--columns", "--header", "--separator", "--decimal", "--scale",
    "--layout",
    "--window", "--stride", "--time", "--time-format", "--channels", "--resample", "--scaling",
    "--train-share", "--train-points", "--gap", "--max-gap", "--split",
    "--seeds-at-once", "--data-devices", "--host-devices", "--coordinator", "--num-processes",
    "--process-id", "--cluster", "--set", "--help",
    "--config", "--log", "--profile", "--deterministic",
}  # fmt: skip


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Collects what `train` would train one seed of, and trains nothing."""
    calls: list[Any] = []
    monkeypatch.setattr(training, "_one", lambda settings, *_: calls.append(settings))
    return calls


def test_train_has_each_option_once() -> None:
    text = RUNNER.invoke(app, ["train", "--help"]).output
    starts = re.findall(r"^  (--[\w-]+)(?:, (--[\w-]+))?", text, re.MULTILINE)
    flags = [flag for found in starts for flag in found if flag]
    assert sorted(flags) == sorted(OPTIONS)
    assert re.search(r"--learning-rate, --lr <float>\s", text)
    assert re.search(r"--clip-norm <float> +Bound of the gradient norm\.\n", text)
    assert re.search(r"--data-devices <int range> .*\[default: 1;", text)


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        ([], "data", "sines"),  # the recipe's, as is the batch size
        ([], "batch_size", 64),
        (["--data", "digits"], "data", "digits"),
        (["--seed", "7"], "seed", 7),
        (["--epochs", "3"], "epochs", 3),
        (["--batch-size", "16"], "batch_size", 16),
        (["--lr", "0.5"], "optimizer.learning_rate", 0.5),
        (["--learning-rate", "0.25"], "optimizer.learning_rate", 0.25),
        (["--optimizer", "sgd"], "optimizer.name", "sgd"),
        (["--schedule", "cosine"], "optimizer.schedule", "cosine"),
        (["--clip-norm", "2"], "optimizer.clip_norm", 2.0),
        (["--ema", "0.99"], "optimizer.ema", 0.99),
        (["--accumulate", "4"], "accumulate", 4),
        (["--precision", "bfloat16"], "precision", "bfloat16"),
        (["--freeze", "encoder,bias"], "freeze", "encoder,bias"),
        (["--adversarial", "latents"], "adversarial.on", "latents"),
        (["--adversarial", "images", "--adversarial-weight", "2"], "adversarial.weight", 2.0),
        (
            ["--adversarial", "images", "--similarity", "features"],
            "adversarial.similarity",
            "features",
        ),
        (["--optimizer", "adamw", "--weight-decay", "0.1"], "optimizer.weight_decay", 0.1),
        (["--model", "lgta", "--no-decay", "*bias*"], "optimizer.no_decay", "*bias*"),
        (["--likelihood", "bernoulli"], "objective.likelihood", "bernoulli"),
        (["--reduction", "sum"], "objective.reduction", "sum"),
        (["--beta", "0"], "objective.beta", 0.0),  # zero is a value, not an option left out
        (["--patience", "4"], "early_stopping.patience", 4),
        (["--patience", "4", "--stop-metric", "test_mse"], "early_stopping.metric", "test_mse"),
        (["--init", "flax"], "model.init_scheme", "flax"),
        (["--pipeline", "streaming"], "pipeline", "streaming"),
        (["--checkpoint-every", "5"], "checkpoint_every", 5),
        (["--best-metric", "test_mse"], "best_metric", "test_mse"),
        (["--data", "x.csv", "--label", "y"], "data", "x.csv?label=y"),
        (["--epochs", "3", "--set", "epochs=4"], "epochs", 4),
    ],
)
def test_an_option_sets_its_field(
    arguments: list[str], field: str, value: Any, trained: list[Any]
) -> None:
    done = RUNNER.invoke(app, ["train", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    (settings,) = trained
    found: Any = settings
    for name in field.split("."):
        found = getattr(found, name)
    assert found == value
    assert type(found) is type(value)
