"""Run directories, resumed and opened, and the results of studies.

A checkpoint has digests of all that it holds, and the files beside it are held against it: whatever
is damaged, the same bits come out, or an error.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import numpy as np

from msae_jax import cli
from msae_jax.config import ModelConfig, OptimizerConfig, TrainConfig
from msae_jax.errors import InputError
from msae_jax.experiments.cache import cached
from msae_jax.experiments.study import Setup
from msae_jax.fitting.loop import fit_many, fit_one
from msae_jax.results import claims, ledger
from msae_jax.runs import checkpoint, directory, store
from msae_jax.train.seeds import Member
from msae_jax.weights import load_many, load_weights
from tests.campaign.damage import damage, edited
from tests.campaign.subject import Outcome, Subject, anything, different

SETTINGS = TrainConfig(  # arrays below 1 KiB lie in TensorStore's nodes, which have a checksum
    ModelConfig("baseline", {"hidden": [128], "latent_dim": 8}),
    optimizer=OptimizerConfig(learning_rate=0.01),
    batch_size=16,
    epochs=3,
)


def _settings(folder: Path, seed: int) -> TrainConfig:
    data = folder.parent / f"samples{seed}.npy"
    if not data.exists():
        x = np.random.default_rng(seed).normal(size=(40, 6)).astype(np.float32)
        np.save(data, x)
    return replace(SETTINGS, data=str(data), seed=seed)


def _one(folder: Path, seed: int) -> None:
    fit_one(_settings(folder, seed), out=folder / "run")


def _killed(folder: Path, seed: int) -> None:
    """A run that ended before the last of its epochs."""

    def end(line: dict[str, Any]) -> None:
        if line["epoch"] == 3:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        fit_one(replace(_settings(folder, seed), epochs=4), out=folder / "run", on_epoch=end)


def _many(folder: Path, seed: int) -> None:
    members = [Member(seed), Member(seed, learning_rate=0.02), Member(seed + 5, vary="order")]
    fit_many(replace(_settings(folder, seed), checkpoint_every=2), members, out=folder / "run")


def _plain_seeds(folder: Path, seed: int) -> None:
    fit_many(_settings(folder, seed), [Member(seed), Member(seed + 5)], out=folder / "run")


def run_cli(*arguments: str) -> None:
    """Runs a command in this process.

    Raises:
      InputError: it ended with status 1 or 2 and one line.
    """
    errors = io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["msae", *arguments]),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(errors),
    ):
        status = cli.main()
    lines = [line for line in errors.getvalue().splitlines() if line.startswith("msae: error: ")]
    if status in (1, 2) and len(lines) == 1 and errors.getvalue().endswith(f"{lines[0]}\n"):
        raise InputError(lines[0])
    assert status == 0, (status, errors.getvalue())


def _resumed(folder: Path) -> Outcome:
    """Resumes a finished run, which trains again whatever it could not read."""
    run = folder / "run"
    run_cli("train", "--resume", "--out", str(run))
    return {
        **_contents(run),
        "metrics.jsonl": [_untimed(line) for line in _lines(run / directory.METRICS)],
        "config.json": json.loads((run / directory.CONFIG).read_text()),
        "seeds.json": json.loads((run / directory.SEEDS).read_text()),
    }


def _contents(run: Path) -> dict[str, Any]:
    opened = checkpoint.load_all(run)
    leaves = jax.tree_util.tree_leaves_with_path(opened.variables)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves} | {
        "config": opened.config,
        "members": opened.members,
        "shape": opened.sample_shape,
        "histories": [list(map(_untimed, history)) for history in opened.histories],
    }


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _untimed(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name != "seconds"}


def _opened(folder: Path) -> Outcome:
    """Opens weights as `evaluate`, `embed` and `convert` do: the latest and the best."""
    run = folder / "run"
    found = _contents(run)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for best in (False, True):
            many = load_many(run, best=best)
            loaded = load_weights(run, best=best) if many is None else None
            variables = loaded.variables if loaded else many.variables  # type: ignore[union-attr]
            leaves = jax.tree_util.tree_leaves_with_path(variables)
            found |= {f"best={best}{jax.tree_util.keystr(path)}": leaf for path, leaf in leaves}
    return found | {"said": bool(said)}


def _latest_or_best(original: Outcome, got: Outcome, path: Path) -> str | None:
    """The best of those that can be read may be another than it was, and it is said."""
    hidden = {"said"} | {name for name in original if got["said"] and name.startswith("best=True")}
    return different(
        *({n: v for n, v in part.items() if n not in hidden} for part in (original, got))
    )


def _forged(folder: Path, twin: Path, rng: np.random.Generator) -> str:
    """Changes values, and signs them as their writer would."""
    run = folder / "run"
    if rng.random() < 0.3:
        values = edited(json.loads((run / directory.CONFIG).read_text()), rng)
        text = json.dumps(values) + "\n"
        members = json.loads((run / directory.SEEDS).read_text())["members"]
        members = edited(members, rng) if rng.random() < 0.3 else members
        (run / directory.CONFIG).write_text(text)
        signed = {"members": members, "sha256": directory._digest(members, text.encode())}
        (run / directory.SEEDS).write_text(json.dumps(signed))
        return "config.json and seeds.json, signed"
    for number in store.numbers(run / checkpoint.FOLDER):
        path = run / checkpoint.FOLDER / str(number) / "meta" / "metadata"
        content = edited(json.loads(path.read_text())["content"], rng)
        path.write_text(json.dumps({"content": content, "sha256": store._digest_json(content)}))
    return "meta of all checkpoints, signed"


def _study(folder: Path, seed: int) -> None:
    values = np.random.default_rng(seed).uniform(size=5).tolist()
    stated = [
        claims.Claim("a", "an error", 0.5, "MSE per value", values, source="table 1"),
        claims.Claim("b", "parameters", 100, "parameters", [100.0]),
        claims.Claim("c", "ours", None, "nats", values, detail=True),
    ]
    versions = {"model": {"jax": "0.7"}}
    path = folder / "sines" / "results.json"
    claims.write_results(path, "sines", stated, trained_with=versions, note="text")


def _gone(original: Outcome, got: Outcome, path: Path) -> str | None:
    """A study without results has not been run yet."""
    gone = not (path / "sines" / "results.json").exists()
    return None if gone else different(original, got)


def _collected(folder: Path) -> Outcome:
    return {
        "claims": ledger.write(folder, ["sines"]),
        "seeds": claims.seeds_of_results(folder / "sines" / "results.json"),
        "ledger": (folder / "ledger.md").read_text(),
    }


def _kept(folder: Path, seed: int) -> None:
    cached(_setup(folder), "kept", lambda: {"accuracy": seed + 0.5, "seeds": [1, 2]}, "of this")


def _found(folder: Path) -> Outcome:
    """What is damaged is computed again."""
    return {
        "found": cached(
            _setup(folder), "kept", lambda: {"accuracy": 0.5, "seeds": [1, 2]}, "of this"
        )
    }


def _setup(folder: Path) -> Setup:
    return Setup(seeds=1, out=folder / "out", runs=folder)


SUBJECTS = {
    "run, resumed": Subject(400, _one, _resumed, spoil=damage),
    "run, killed, resumed": Subject(500, _killed, _resumed, spoil=damage),
    "run, opened": Subject(400, _one, _opened, _latest_or_best, damage),
    "seeds, resumed": Subject(500, _many, _resumed, spoil=damage),
    "seeds, opened": Subject(150, _plain_seeds, _opened, _latest_or_best, damage),
    "run, forged, resumed": Subject(150, _one, _resumed, anything, _forged),
    "run, forged, opened": Subject(100, _one, _opened, anything, _forged),
    "results of a study": Subject(100, _study, _collected, _gone),
    "measures of a study": Subject(100, _kept, _found),
}
