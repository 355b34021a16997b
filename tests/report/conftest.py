"""Run directories of every kind, written without training: what they logged is known.

Two of three seeds, one of one seed, by source, a sweep, a diverged one, two that were interrupted.
Their weights are random numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from msae_jax import data, models
from msae_jax.config import METRIC_KINDS, ModelConfig, TrainConfig
from msae_jax.data import Dataset, facts
from msae_jax.fitting.members import Progress
from msae_jax.runs import directory
from msae_jax.runs.arrays import StateArrays
from msae_jax.runs.writer import Writer
from msae_jax.train.seeds import Member, make_task

NAME = "wide <script>alert(1)"
"""Of a run directory that somebody else has named."""
DIVERGED = "the loss became non-finite at step 3 (epoch 2, step 1 of 2)"


class Runs(NamedTuple):
    """The folders of the runs, and the file that holds their data."""

    data: str
    many: Path
    wide: Path
    one: Path
    sources: Path
    grid: Path
    diverged: Path
    halfway: Path
    begun: Path


def history(rng: np.random.Generator, epochs: int, scale: float) -> list[dict[str, Any]]:
    """Returns what epochs may have logged: the loss is the MSE, and there is no KL term."""
    found = []
    for epoch in range(1, epochs + 1):
        line: dict[str, Any] = {"epoch": epoch, "step": 5 * epoch, "seconds": 0.5}
        for split in ("train", "test"):
            mse = scale * float(rng.uniform(0.9, 1.1)) / epoch
            nats = 64 * mse + 117.6
            values = {"loss": mse, "nats": nats, "recon_nats": nats, "kl_nats": 0.0, "mse": mse}
            line |= {f"{split}_{metric.name}": values[metric.name] for metric in METRIC_KINDS}
        found.append(line)
    return found


def write_run(
    out: Path,
    settings: TrainConfig,
    members: Sequence[Member],
    dataset: Dataset,
    *,
    scale: float = 0.1,
    epochs: int | None = None,
    lost: dict[int, str] | None = None,
    saved: bool = True,
) -> None:
    """Writes a run directory as training writes it, with random weights and histories."""
    rng = np.random.default_rng([ord(c) for c in out.name])
    shape = dataset.sample_shape
    task = make_task(settings, dataset, members)
    progress = Progress(settings, members, task, shape, None, facts.of(dataset))
    count = settings.epochs if epochs is None else epochs
    progress.histories = [history(rng, count, scale) for _ in members]
    progress.diverged = lost or {}
    progress._seeds_per_batch = 1
    out.mkdir(parents=True)
    directory.make(out, settings, members)
    if saved:
        wanted = jax.eval_shape(
            lambda key: models.init_variables(task.model, key, shape), jax.random.key(0)
        )
        weights = jax.tree.map(
            lambda a: rng.normal(0, 0.2, (len(members), *a.shape)).astype(np.float32), wanted
        )
        arrays = StateArrays({"batch_stats": {}, **weights}, {"step": np.zeros(len(members))})
        writer = Writer(out, settings, shape)
        progress.save(writer, range(len(members)), arrays)
        writer.close()
    directory.Log(out).write(progress.lines())


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, signals: Dataset) -> Runs:
    folder = tmp_path_factory.mktemp("reported")
    file = folder / "signals.npy"
    np.save(file, np.concatenate([signals.train.x, signals.test.x]))
    x = data.load(file)
    small = TrainConfig(
        ModelConfig("baseline", {"hidden": [8], "latent_dim": 2}),
        data=str(file),
        batch_size=32,
        epochs=2,
    )
    names = ("many", NAME, "one", "sources", "grid", "diverged", "halfway", "begun")
    made = Runs(str(file), *(folder / name for name in names))
    seeds = [Member(seed) for seed in range(3)]
    write_run(made.many, small, seeds, x)
    wide = replace(small, model=ModelConfig("baseline", {"hidden": [16], "latent_dim": 2}))
    write_run(made.wide, wide, seeds, x, scale=0.2)
    write_run(made.one, replace(small, seed=4), [Member(4)], x)
    varied = [Member(seed, source) for source in ("init", "order") for seed in range(2)]
    write_run(made.sources, small, varied, x)
    for dim in (2, 3):
        one = replace(
            small, epochs=1, model=ModelConfig("baseline", {"hidden": [8], "latent_dim": dim})
        )
        points = [Member(seed, learning_rate=rate) for rate in (0.001, 0.01) for seed in range(2)]
        write_run(made.grid / f"latent_dim={dim}", one, points, x)
    write_run(made.diverged, small, seeds, x, epochs=1, lost=dict.fromkeys(range(3), DIVERGED))
    longer = replace(small, epochs=3)
    write_run(made.halfway, longer, seeds, x, epochs=1)
    write_run(made.begun, replace(longer, checkpoint_every=3), seeds, x, epochs=1, saved=False)
    return made
