"""A grid over any fields of the configuration, times seeds.

Configurations that differ only in the learning rate and beta have equal shapes and equal programs:
they train together, as members of one ensemble. The others train one after another.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from msae_jax import config, data, models
from msae_jax.config import TrainConfig, parse_assignment
from msae_jax.errors import InputError
from msae_jax.fitting.ensemble import Ensemble
from msae_jax.fitting.loop import OnEpoch, as_members, fit_many
from msae_jax.system import distributed, tables
from msae_jax.train.seeds import Member

_TOGETHER = ("optimizer.learning_rate", "objective.beta")


class Group(NamedTuple):
    """Configurations that train together.

    Attributes:
      name: of its directory: what sets it apart, such as `latent_dim=5`.
      settings: shared by its members.
      points: of each member, its values of the swept fields.
    """

    name: str
    settings: TrainConfig
    members: list[Member]
    points: list[dict[str, Any]]


def parse_axes(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Reads `FIELD=V1,V2,...`, values as `config.parse_assignment` does; lists as `[[64],[128]]`.

    Raises:
      InputError: no `=`, no values, or a field twice.
    """
    axes: dict[str, list[Any]] = {}
    for text in texts:
        name, equals, listed = text.partition("=")
        if not equals or not name or not listed:
            raise InputError(f"expected FIELD=V1,V2,..., got {text!r}.")
        if name in axes:
            raise InputError(f"{name} is swept twice: give all of its values at once.")
        try:
            values = json.loads(listed if listed.startswith("[[") else f"[{listed}]")
        except json.JSONDecodeError:
            values = [parse_assignment(f"{name}={value}")[1] for value in listed.split(",")]
        repeated = [v for i, v in enumerate(values) if v in values[:i]]
        if repeated:
            raise InputError(f"{name} has the value {repeated[0]!r} twice.")
        axes[name] = values
    return axes


def groups(
    settings: TrainConfig, axes: Mapping[str, Sequence[Any]], seeds: int | Sequence[int]
) -> list[Group]:
    """Returns the grid times the seeds, in groups that train together.

    Raises:
      InputError: a field that does not exist, or a value that it refuses.
    """
    if "seed" in axes:
        raise InputError("seeds are not swept: give their number with --seeds.")
    axes = full_names(axes)
    found: dict[str, Group] = {}
    for values in itertools.product(*axes.values()):
        point = dict(zip(axes, values, strict=True))
        apart = {name: value for name, value in point.items() if name not in _TOGETHER}
        shared = config.override(settings, apart)
        own = config.override(shared, point)
        rate = own.optimizer.learning_rate if _TOGETHER[0] in point else None
        beta = own.objective.beta if _TOGETHER[1] in point else None
        name = ",".join(f"{k}={_short(v)}" for k, v in apart.items()) or "all"
        group = found.setdefault(name, Group(name, shared, [], []))
        for member in as_members(shared, seeds):
            group.members.append(replace(member, learning_rate=rate, beta=beta))
            group.points.append(point)
    return list(found.values())


def full_names(axes: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """Returns the axes with the fields' short names, of the command line, written out."""
    short = {"learning_rate": _TOGETHER[0], "lr": _TOGETHER[0], "beta": _TOGETHER[1]}
    return {short.get(name, name): values for name, values in axes.items()}


def _short(value: Any) -> str:
    return json.dumps(value, separators=(",", ":")).replace('"', "").replace("/", "_")


def run(
    settings: TrainConfig,
    axes: Mapping[str, Sequence[Any]],
    seeds: int | Sequence[int],
    *,
    out: str | Path,
    resume: bool = False,
    data_dir: str | Path | None = None,
    on_group: Callable[[Group], OnEpoch | None] = lambda group: None,
    **how: Any,
) -> list[dict[str, Any]]:
    """Trains the grid and writes `table.csv` and `table.json`, a row a seed.

    Args:
      out: gets a run directory for each group, and the tables.
      resume: go on with the sweep in `out`; values and seeds may be added to it.
      on_group: called as each begins; returns what to call with each epoch's metrics.
      how: `seeds_at_once`, `data_devices`, as for `loop.fit`.

    Returns:
      The rows: the swept fields, seed, epochs, `diverged`, parameters, and the last metrics.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())) and not resume:
        raise InputError(f"{out} is not empty: choose another --out, or --resume its sweep.")
    planned = groups(settings, axes, seeds)
    rows: list[dict[str, Any]] = []
    datasets: dict[tuple[str, bool], data.Dataset] = {}
    for group in planned:
        streaming = group.settings.pipeline == "streaming"
        name = group.settings.data, streaming
        if name not in datasets:
            datasets = {name: data.load(name[0], data_dir=data_dir, streaming=streaming)}
        done = fit_many(
            group.settings,
            group.members,
            datasets[name],
            out=out / group.name,
            resume=True,
            on_epoch=on_group(group),
            **how,
        )
        rows += _rows(group, done, datasets[name].sample_shape)
    if distributed.is_main():
        tables.write(out / "table", rows)
    return rows


def _rows(group: Group, done: Ensemble, shape: tuple[int, ...]) -> list[dict[str, Any]]:
    count = models.parameter_count(done.model, shape)
    point_of = dict(zip(group.members, group.points, strict=True))
    apart = ("member", "vary", "learning_rate", "beta")
    return [
        point_of[member]
        | {"run": group.name, "parameters": count}
        | {name: value for name, value in row.items() if name not in apart}
        for member, row in zip(done.members, done.rows(), strict=True)
        if member in point_of
    ]
