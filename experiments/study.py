"""What every study does: train its models over seeds, once, and keep what they gave."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from msae_jax import data, figures
from msae_jax.config import TrainConfig
from msae_jax.data.dataset import take
from msae_jax.fitting.ensemble import Ensemble
from msae_jax.fitting.loop import as_members, fit_many
from msae_jax.results import claims
from msae_jax.results.claims import Claim
from msae_jax.system.progress import progress_bar
from msae_jax.train.evaluation import per_sample, reconstruct

QUICK_EPOCHS = 2
QUICK_DATA = {"mnist": "digits", "fashion_mnist": "digits"}


@dataclass(frozen=True)
class Setup:
    """How a study is to run.

    Attributes:
      seeds: of each model. out: for results and figures.
      runs: a run directory for each model; finished ones are used again, unfinished ones go on.
      quick: a look at the whole study in a minute or two: digits instead of MNIST and
        Fashion-MNIST, two epochs. Its numbers mean nothing.
      fresh: train again what is in `runs`.
      side_by_side: let the parts of a study run in processes of their own, where that is faster. A
        script that asks for it needs `if __name__ == "__main__":`, as `multiprocessing` does.
    """

    seeds: int
    out: Path
    runs: Path
    quick: bool = False
    fresh: bool = False
    data_dir: Path | None = None
    side_by_side: bool = False

    def settings(self, settings: TrainConfig) -> TrainConfig:
        """Returns the configuration as this setup trains it: five checkpoints a run."""
        if self.quick:
            name = QUICK_DATA.get(settings.data, settings.data)
            settings = replace(settings, data=name, epochs=min(settings.epochs, QUICK_EPOCHS))
        return replace(settings, checkpoint_every=max(1, settings.epochs // 5))

    def dataset(self, settings: TrainConfig) -> data.Dataset:
        """Returns the data that `train` trains on."""
        return data.load(self.settings(settings).data, data_dir=self.data_dir)

    def train(
        self,
        name: str,
        settings: TrainConfig,
        dataset: data.Dataset | None = None,
        *,
        brief: bool = False,
    ) -> Ensemble:
        """Trains a configuration over the seeds, in `runs`/`name`; see `fitting.loop.fit`.

        Args:
          brief: of a run of a minute whose test metrics are not read. On small sets, testing after
            each epoch takes longer than training and a checkpoint as long as many epochs. Hence the
            run has one checkpoint, at its end, and is tested on one sample. Needs the data set.
        """
        settings = self.settings(settings)
        if brief:
            assert dataset is not None
            settings = replace(settings, checkpoint_every=settings.epochs)
            dataset = replace(dataset, test=_first(dataset.test))
        run = self.runs / name
        if self.fresh and (run / "seeds.json").exists():
            shutil.rmtree(run)
        members = as_members(settings, self.seeds)
        label = f"{name}, {self.seeds} seeds"
        with progress_bar(settings.epochs, label) as bar:
            done = fit_many(
                settings,
                members,
                dataset,
                out=run,
                resume=True,
                data_dir=self.data_dir,
                on_epoch=bar,
            )
        for message in done.messages:
            print(f"msae: warning: {message}", file=sys.stderr)
        for index, text in done.diverged.items():
            seed = done.members[index].seed
            print(f"msae: warning: {name} seed {seed} is left out: {text}", file=sys.stderr)
        return done.only(range(self.seeds))

    def finish(
        self,
        study: str,
        stated: Sequence[Claim],
        trained: Mapping[str, Ensemble],
        **more: Any,
    ) -> list[Claim]:
        """Writes `results.json` and prints the table."""
        versions = {name: done.versions for name, done in trained.items()}
        claims.write_results(
            self.out / "results.json", study, stated, trained_with=versions, **more
        )
        print(claims.table(stated))
        print(f"\nresults and figures: {self.out}")
        return list(stated)


def final_claim(
    id: str,
    statement: str,
    done: Ensemble,
    metric: str,
    published: float | None,
    unit: str,
    **more: Any,
) -> Claim:
    """Returns the claim of a metric of the last epoch, over the seeds that did not diverge."""
    values = done.final(metric)
    finite = values[np.isfinite(values)]
    return Claim(
        id, statement, published, unit, finite.tolist(), diverged=len(values) - len(finite), **more
    )


def loss_claims(
    name: str,
    done: Ensemble,
    published: Sequence[float],
    unit: str,
    *,
    source: str,
    why: str = "",
) -> list[Claim]:
    """Returns the claims of the training loss after each epoch; all but the last are details."""
    epochs = list(zip(published, done.metrics("train_loss").T, strict=False))
    return [
        Claim(
            f"{name}-train-loss-{epoch}",
            f"training loss of {figures.label(name)}, epoch {epoch}",
            number,
            unit,
            values[np.isfinite(values)].tolist(),
            source=source,
            why=why,
            diverged=int(np.isnan(values).sum()),
            detail=epoch < len(epochs),
        )
        for epoch, (number, values) in enumerate(epochs, start=1)
    ]


def parameter_claim(
    id: str, statement: str, done: Ensemble, published: float | None, **more: Any
) -> Claim:
    """Returns the claim of a count of trainable parameters."""
    shapes = jax.tree.map(lambda a: a[0], done.weights["params"])
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    return Claim(id, statement, published, "parameters", [float(count)], **more)


def ours_alone(id: str, statement: str, unit: str, values: Sequence[float], why: str = "") -> Claim:
    """Returns the claim of a number that was never published."""
    return Claim(id, statement, None, unit, values, why=why)


def _first(split: data.Split) -> data.Split:
    """Returns a split with its first sample alone."""
    return data.Split(take(split.x, np.arange(1)), None if split.y is None else split.y[:1])


class Arrays(NamedTuple):
    """Samples `[N, ...]` and classes `[N]` of the training and the test split."""

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def arrays(dataset: data.Dataset) -> Arrays:
    splits = dataset.train, dataset.test
    return Arrays(*(np.asarray(a) for split in splits for a in (split.x, split.y)))


def finite(values: np.ndarray) -> np.ndarray:
    """Returns the values `[n]` of the seeds that did not diverge."""
    return values[np.isfinite(values)]


def reconstructions(
    models: Mapping[str, Ensemble], x: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns, by model, what the first seed makes of `x` `[N, ...]`, and its MSE `[N]`."""
    made, errors = {}, {}
    for name, done in models.items():
        variables = done.variables(0)
        made[name] = reconstruct(done.model, variables, x)
        terms = per_sample(done.model, variables, x, done.config.objective)
        errors[name] = np.asarray(terms.mse)
    return made, errors


def captions(errors: Mapping[str, np.ndarray], digits: int = 4) -> dict[str, list[str]]:
    """Returns, by row, the text under each image: its mean squared error."""
    return {name: [f"MSE {error:.{digits}f}" for error in row] for name, row in errors.items()}
