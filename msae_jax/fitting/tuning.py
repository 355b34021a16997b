"""Chooses hyper-parameters by Optuna, on the mean over seeds. Needs the extra `tune`.

The test split has no part in it: a validation split is held out of the training split. Whether the
chosen configuration is better is for `results.compare` to say, over seeds that no trial used.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from msae_jax import config, data, models
from msae_jax.config import METRICS, TrainConfig
from msae_jax.errors import InputError, unknown_name
from msae_jax.fitting import sweep
from msae_jax.fitting.loop import OnEpoch, fit_many

FILE = "study.db"
"""The study, in SQLite, as Optuna's own tools read it."""

_ASKED = "msae_jax"  # the attribute of the study that says what was asked for
_NUMBER = r"-?\d+(?:\.\d*)?(?:e[-+]?\d+)?"
_RANGE = re.compile(rf"(log:)?({_NUMBER}):({_NUMBER})", re.IGNORECASE)


class Range(NamedTuple):
    """Numbers from `low` to `high`, both included; whole ones if both are."""

    low: float
    high: float
    log: bool = False


Axis = Range | list[Any]
"""The values that a field may take: a range, or a list to choose from."""


class Asked(NamedTuple):
    """What is tuned, and how; it cannot change once a study has begun.

    Attributes:
      settings: what is trained, but for the fields in `axes`.
      axes: by dotted field. seeds: of each trial.
      metric: of the validation split, under the name that it has of a test split.
      validation: the share of the training split that is held out.
    """

    settings: TrainConfig
    axes: dict[str, Axis]
    seeds: list[int]
    metric: str = "test_mse"
    validation: float = 0.2

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON values."""
        axes = {name: list(axis) for name, axis in self.axes.items()}
        ranges = sorted(name for name, axis in self.axes.items() if isinstance(axis, Range))
        values = self._replace(settings=config.to_dict(self.settings), axes=axes)  # type: ignore[arg-type]
        return json.loads(json.dumps({**values._asdict(), "ranges": ranges}))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], settings: TrainConfig) -> Asked:
        """Returns what `to_dict` was called on, with its settings as they were opened."""
        axes = {
            name: Range(*axis) if name in values["ranges"] else axis
            for name, axis in values["axes"].items()
        }
        return cls(settings, axes, values["seeds"], values["metric"], values["validation"])


class Trial(NamedTuple):
    """A finished trial: its number from 1 on, its values of the fields, its mean over seeds."""

    number: int
    point: dict[str, Any]
    value: float


def parse_search(texts: Sequence[str]) -> dict[str, Axis]:
    """Reads `FIELD=V1,V2,...` as for a sweep, and `FIELD=LOW:HIGH` or `FIELD=log:LOW:HIGH`.

    Raises:
      InputError: one is neither, or names a field twice.
    """
    axes: dict[str, Axis] = {}
    for text in texts:
        name, _, values = text.partition("=")
        found = _RANGE.fullmatch(values)
        ((field, listed),) = sweep.full_names(sweep.parse_axes([text])).items()
        if field in axes or field == "seed":
            raise InputError(f"{name} cannot be searched{' twice' if field in axes else ''}.")
        axes[field] = _range(text, *found.groups()) if found else list(listed)
    if not axes:
        raise InputError("nothing to tune: expected --search FIELD=LOW:HIGH or FIELD=V1,V2,...")
    return axes


def _range(text: str, log: str | None, low: str, high: str) -> Range:
    a, b = (json.loads(n) if re.fullmatch(r"-?\d+", n) else float(n) for n in (low, high))
    if not a < b or (log and a <= 0):
        raise InputError(f"expected LOW below HIGH{', both above 0' if log else ''}, got {text!r}.")
    return Range(a, b, bool(log))


def mean_of(
    asked: Asked, dataset: data.Dataset, on_trial: Callable[[], OnEpoch | None] = lambda: None
) -> Callable[[dict[str, Any]], float]:
    """Returns what trains a point over the seeds, and returns the mean of the metric.

    It is infinite where a seed diverges, and where the fields of a point do not go together.

    Args:
      dataset: with the validation split as its test split (`data.held_out`).
      on_trial: called as one begins; returns what to call with each epoch's metrics.
    """

    def mean(point: dict[str, Any]) -> float:
        axes = {name: [value] for name, value in point.items()}
        try:
            (group,) = sweep.groups(asked.settings, axes, asked.seeds)
            done = fit_many(group.settings, group.members, dataset, on_epoch=on_trial())
        except InputError as error:
            warnings.warn(f"the values {point} are refused: {error}", stacklevel=2)
            return np.inf
        value = float(np.mean(done.final(asked.metric)))
        return value if np.isfinite(value) else np.inf

    return mean


class Study:
    """An Optuna study in a folder, which goes on from where it was killed.

    A trial that was killed is trained again. Each trial is drawn by what the finished ones gave and
    by how many they are, so that a study that was killed has the trials of one that was not.

    Attributes:
      asked: None of a study that has not begun.
    """

    def __init__(self, folder: Path) -> None:
        """Opens the study in a folder that exists, or begins one.

        Raises:
          InputError: Optuna is not installed.
        """
        try:
            import optuna
        except ModuleNotFoundError as error:
            raise InputError(
                "tuning needs optuna, not installed: pip install 'msae-jax[tune]' (in a checkout: "
                "pip install -e '.[tune]')."
            ) from error
        self._optuna = optuna
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = f"sqlite:///{folder / FILE}"
        self._study = optuna.create_study(
            storage=storage, study_name="msae", direction="minimize", load_if_exists=True
        )

    def told(self) -> dict[str, Any] | None:
        """Returns what the study was asked for, as `Asked.to_dict` gives it; None of a new one."""
        return self._study.user_attrs.get(_ASKED)

    def tell(self, asked: Asked) -> None:
        """Says what is asked for.

        Raises:
          InputError: the study has begun, and was asked for something else.
        """
        wanted, told = asked.to_dict(), self.told()
        if told is None:
            self._study.set_user_attr(_ASKED, wanted)
        elif changed := config.differences(told, wanted):
            listed = "; ".join(f"{k} was {a!r}, is {b!r}" for k, (a, b) in changed.items())
            raise InputError(f"another study has begun there: {listed}. Choose another --out.")

    def finished(self, axes: Mapping[str, Axis]) -> list[Trial]:
        """Returns the finished trials, in order."""
        complete = self._optuna.trial.TrialState.COMPLETE
        trials = self._study.get_trials(deepcopy=False, states=(complete,))

        def point_of(params: Mapping[str, Any]) -> dict[str, Any]:
            return {name: _decoded(axis, params[name]) for name, axis in axes.items()}

        return [
            Trial(i, point_of(t.params), cast(float, t.value))
            for i, t in enumerate(trials, start=1)
        ]

    def go_on(
        self,
        asked: Asked,
        count: int,
        value_of: Callable[[dict[str, Any]], float],
        on_end: Callable[[Trial, Trial], None] = lambda trial, best: None,
    ) -> Trial:
        """Goes on until `count` trials have finished, and returns the best one.

        A point that has been tried is not trained again.

        Args:
          value_of: trains a point; lower is better.
          on_end: called with each trial that ends, and the best so far.
        """
        states = self._optuna.trial.TrialState
        for killed in self._study.get_trials(deepcopy=False, states=(states.RUNNING,)):
            self._study.tell(killed.number, state=states.FAIL)
        while len(done := self.finished(asked.axes)) < count:
            seed = asked.settings.seed + len(done)
            self._study.sampler = self._optuna.samplers.TPESampler(seed=seed)
            trial = self._study.ask()
            point = {
                name: _decoded(axis, _drawn(trial, name, axis)) for name, axis in asked.axes.items()
            }
            same = next((old.value for old in done if old.point == point), None)
            value = value_of(point) if same is None else same
            self._study.tell(trial, value)
            done.append(Trial(len(done) + 1, point, value))
            on_end(done[-1], _best(done))
        return _best(done)


def _best(trials: Sequence[Trial]) -> Trial:
    return min(trials, key=lambda trial: trial.value)


def _drawn(trial: Any, name: str, axis: Axis) -> Any:
    if not isinstance(axis, Range):
        return trial.suggest_categorical(name, [_encoded(value) for value in axis])
    if isinstance(axis.low, int) and isinstance(axis.high, int):
        return trial.suggest_int(name, axis.low, axis.high, log=axis.log)
    return trial.suggest_float(name, axis.low, axis.high, log=axis.log)


def _encoded(value: Any) -> Any:
    """Returns a value to choose as Optuna keeps it: lists have to be texts."""
    return json.dumps(value) if isinstance(value, list | dict) else value


def _decoded(axis: Axis, value: Any) -> Any:
    if isinstance(axis, Range):
        return value
    return next(choice for choice in axis if _encoded(choice) == value)


def check(asked: Asked, dataset: data.Dataset) -> None:
    """Checks that configurations can be chosen so, as far as each field by itself tells.

    Raises:
      InputError: no such metric of a test split, a field that does not exist, or a value that it
        refuses.
    """
    choices = [name for name in METRICS if name.startswith("test_")]
    if asked.metric not in choices:
        raise unknown_name("metric to choose by", asked.metric, choices)
    for name, axis in asked.axes.items():
        for value in axis[:2] if isinstance(axis, Range) else axis:
            (group,) = sweep.groups(asked.settings, {name: [value]}, asked.seeds)
            models.build(group.settings.model, dataset.sample_shape)
