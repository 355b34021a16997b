"""The same training in both frameworks, from the same weights and batches.

    msae replay sines                                       about half a minute on two CPU cores

Expected: the baseline's loss within 0.1% of the published one at every epoch. Multi-scale follows
for a few epochs and then parts, as PyTorch does from itself on another machine: rounding decides
there, by up to about one standard deviation over seeds.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any, NamedTuple

import jax
import numpy as np

from msae_jax import data, models
from msae_jax.config import ModelConfig
from msae_jax.errors import InputError, unknown_name
from msae_jax.experiments import sines, torch_random
from msae_jax.fitting.loop import fit_one
from msae_jax.interop import mapping
from msae_jax.recipes import recipe

MODELS = sines.MODELS
SEED = 42
RECORD = "replay_sines.json"


class Record(NamedTuple):
    """What PyTorch did with one model: its random numbers drawn again, its losses as recorded.

    Attributes:
      weights: PyTorch's initial state dict.
      orders: the samples of each epoch in their order, int32 [epochs, N].
      curve: PyTorch's training loss per epoch. mse: its test MSE.
      seed_curves, seed_mse: of this project's own runs, seeds 0 to 7: [seeds, epochs], [seeds].
    """

    weights: dict[str, np.ndarray]
    orders: np.ndarray
    curve: np.ndarray
    mse: float
    seed_curves: np.ndarray
    seed_mse: np.ndarray


@dataclass(frozen=True)
class Curve:
    """One model's losses per epoch, and their test MSE last: published, PyTorch's, ours."""

    model: str
    published: np.ndarray
    torch: np.ndarray
    jax: np.ndarray
    spread: np.ndarray

    @property
    def gap(self) -> np.ndarray:
        """Ours less the published one, relative."""
        return self.jax / self.published - 1

    @property
    def gap_in_spreads(self) -> np.ndarray:
        """Ours less the published one, in standard deviations over seeds."""
        return (self.jax - self.published) / self.spread

    def rows(self) -> list[dict[str, Any]]:
        names = [f"epoch {i + 1}" for i in range(len(self.jax) - 1)] + ["test MSE"]
        columns = (self.published, self.torch, self.jax, self.gap, self.spread, self.gap_in_spreads)
        keys = ("published", "pytorch", "jax", "gap", "seed_std", "gap_in_seed_std")
        return [
            {"at": name, **dict(zip(keys, map(float, values), strict=True))}
            for name, *values in zip(names, *columns, strict=True)
        ]


@dataclass(frozen=True)
class Replay:
    """The curves of a study, and the version of PyTorch that they were recorded with."""

    curves: list[Curve]
    torch: str
    seeds: int

    def to_dict(self) -> dict[str, Any]:
        models = {curve.model: curve.rows() for curve in self.curves}
        return {"torch": self.torch, "seeds": self.seeds, "models": models}

    def __str__(self) -> str:
        lines = [
            f"training loss per epoch: published, PyTorch {self.torch} (recorded), JAX (now); the "
            f"gap of JAX to the published, also in standard deviations over {self.seeds} seeds of "
            "JAX runs (recorded)"
        ]
        for curve in self.curves:
            heads = f"{'published':>12}{'PyTorch':>12}{'JAX':>12}{'gap':>10}{'in seed std':>13}"
            lines.append(f"{curve.model:10}{heads}")
            lines += [
                f"{row['at']:10}{row['published']:12.6f}{row['pytorch']:12.6f}{row['jax']:12.6f}"
                f"{100 * row['gap']:+9.3f}%{row['gap_in_seed_std']:+13.3f}"
                for row in curve.rows()
            ]
        return "\n".join(lines)


def load_records() -> tuple[dict[str, Record], str]:
    """Returns the record of each model, and the version of PyTorch that `record_replay` ran.

    As in the published script, one generator makes the weights of both models and then, as each is
    trained after the other, the orders of the samples.
    """
    text = resources.files(__package__).joinpath(RECORD).read_text(encoding="utf-8")
    recorded = json.loads(text)
    generator = torch_random.Generator(SEED)
    weights = {name: torch_random.initial_weights(generator, _shapes(name)) for name in MODELS}
    records = {}
    for name in MODELS:
        settings = recipe(name)
        samples = len(data.load(settings.data).train.x)
        orders = [torch_random.epoch_order(generator, samples) for _ in range(settings.epochs)]
        losses = recorded[name]
        records[name] = Record(
            weights[name],
            np.stack(orders).astype(np.int32),
            np.array(losses["curve"]),
            losses["mse"],
            np.array(losses["seed_curves"]),
            np.array(losses["seed_mse"]),
        )
    return records, recorded["torch"]


def _shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the model's state dict, in PyTorch's order."""
    model = models.build(ModelConfig(name))
    shape = model.sample_shape
    initial = jax.eval_shape(lambda: models.init_variables(model, jax.random.key(0), shape))
    variables = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), dict(initial))
    entries = mapping.table(models.find_layout(name), model)
    state = mapping.to_state_dict(entries, variables, f"model {name!r}")
    return {key: array.shape for key, array in state.items()}


def replay(study: str = "sines", epochs: int | None = None) -> Replay:
    """Trains both models from PyTorch's weights, on PyTorch's batches.

    Args:
      epochs: fewer than the published ones; the test MSE is then not the published one's.

    Raises:
      InputError: the study has no record.
    """
    if study != "sines":
        raise unknown_name("replay", study, ["sines"])
    records, version = load_records()
    dataset = data.load("sines")
    curves = [_replay(name, record, dataset, epochs) for name, record in records.items()]
    return Replay(curves, version, len(records[MODELS[0]].seed_mse))


def _replay(name: str, record: Record, dataset: data.Dataset, epochs: int | None) -> Curve:
    settings = recipe(name)
    settings = replace(settings, epochs=epochs or settings.epochs)
    n = settings.epochs
    if n > len(record.orders):
        raise InputError(f"the record has {len(record.orders)} epochs, got {n}.")
    model = models.build(settings.model, dataset.sample_shape)
    entries = mapping.table(models.find_layout(name), model)
    variables = mapping.to_variables(entries, record.weights, "the record")
    run = fit_one(settings, dataset, orders=record.orders, init=variables)
    ours = [line["train_loss"] for line in run.history] + [run.history[-1]["test_mse"]]
    published = [*sines.PUBLISHED_CURVES[name][:n], sines.PUBLISHED_TEST_MSE[name]]
    spread = [*record.seed_curves.std(axis=0, ddof=1)[:n], record.seed_mse.std(ddof=1)]
    torch = [*record.curve[:n], float(record.mse)]
    return Curve(name, *map(np.array, (published, torch, ours, spread)))
