"""The configuration of a training run: one tree of frozen dataclasses, validated when made.

Every default of the project is visible here; the published recipes, which differ from it, are in
`msae_jax.recipes`. A configuration goes to JSON and back unchanged (`to_dict`, `from_dict`).
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from msae_jax.errors import InputError, unknown_name

T = TypeVar("T")

METRICS = tuple(
    f"{split}_{name}"
    for split in ("train", "test")
    for name in ("loss", "nats", "recon_nats", "kl_nats", "mse")
)
"""The metrics every epoch logs; any of them can pick the best checkpoint or stop a run early."""


def _choice(where: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise unknown_name(where, value, choices)


def _at_least(where: str, value: float, low: float, *, exclusive: bool = False) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not (value > low if exclusive else value >= low):
        bound = f"greater than {low}" if exclusive else f"at least {low}"
        raise InputError(f"{where} must be {bound}, got {value!r}.")


def _whole(where: str, value: int, low: int) -> None:
    if type(value) is not int or value < low:
        raise InputError(f"{where} must be a whole number, at least {low}, got {value!r}.")


@dataclass(frozen=True)
class ModelConfig:
    """A registered model name (or `package.module:Class`) and the fields that differ from its
    defaults; `init_scheme` picks PyTorch's or Flax's default initial weights."""

    name: str = "msae"
    options: Mapping[str, Any] = field(default_factory=dict)
    init_scheme: Literal["torch", "flax"] = "torch"

    def __post_init__(self) -> None:
        _choice("init", self.init_scheme, ("torch", "flax"))


@dataclass(frozen=True)
class Objective:
    """What is minimised; see `msae_jax.losses` for the equations.

    Attributes:
      likelihood: `gaussian` (unit variance: squared error) or `bernoulli` (cross-entropy from
        logits, data in [0, 1]).
      reduction: `mean` over samples and pixels (PyTorch's `MSELoss` and `BCELoss`), `batchmean`
        (nats, summed over a sample, mean over the batch) or `sum` (nats, summed over both).
      beta: the weight of the KL term of a variational model.
      noise_std: standard deviation of the Gaussian noise that training adds to the input alone; the
        target stays clean (a denoising autoencoder). Evaluation adds none.
    """

    likelihood: Literal["gaussian", "bernoulli"] = "gaussian"
    reduction: Literal["mean", "batchmean", "sum"] = "mean"
    beta: float = 1.0
    noise_std: float = 0.0

    def __post_init__(self) -> None:
        _choice("likelihood", self.likelihood, ("gaussian", "bernoulli"))
        _choice("reduction", self.reduction, ("mean", "batchmean", "sum"))
        _at_least("beta", self.beta, 0.0)
        _at_least("noise_std", self.noise_std, 0.0)


@dataclass(frozen=True)
class OptimizerConfig:
    """An Optax optimiser by name, its schedule, and clipping of the gradient's global norm.

    Attributes:
      learning_rate: the peak of the schedule.
      schedule: `constant`, `cosine` or `linear`; the last two fall to `final_fraction` of the peak
        at the end of training. `warmup_steps` of linear rise may precede each.
      momentum: of `sgd` and `rmsprop` only. weight_decay: of `adamw` and `lion` only.
    """

    name: Literal["adam", "adamw", "sgd", "rmsprop", "lion"] = "adam"
    learning_rate: float = 1e-3
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    warmup_steps: int = 0
    final_fraction: float = 0.0
    momentum: float = 0.0
    weight_decay: float = 0.0
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        _choice("optimizer", self.name, ("adam", "adamw", "sgd", "rmsprop", "lion"))
        _choice("schedule", self.schedule, ("constant", "cosine", "linear"))
        _at_least("learning rate", self.learning_rate, 0.0, exclusive=True)
        _whole("warmup_steps", self.warmup_steps, 0)
        _at_least("final_fraction", self.final_fraction, 0.0)
        _at_least("momentum", self.momentum, 0.0)
        _at_least("weight_decay", self.weight_decay, 0.0)
        if self.clip_norm is not None:
            _at_least("clip_norm", self.clip_norm, 0.0, exclusive=True)
        if self.momentum and self.name not in ("sgd", "rmsprop"):
            raise InputError(f"momentum belongs to sgd and rmsprop; {self.name} does not take it.")
        if self.weight_decay and self.name not in ("adamw", "lion"):
            raise InputError(f"weight_decay belongs to adamw and lion; {self.name} has none.")
        if self.final_fraction and self.schedule == "constant":
            raise InputError("final_fraction needs schedule 'cosine' or 'linear', got 'constant'.")


@dataclass(frozen=True)
class EarlyStopping:
    """Stop when `metric` (lower is better) has not improved for `patience` epochs."""

    patience: int
    metric: str = "test_loss"

    def __post_init__(self) -> None:
        _whole("patience", self.patience, 1)
        _choice("metric", self.metric, METRICS)


@dataclass(frozen=True)
class TrainConfig:
    """One training run of one seed.

    Attributes:
      data: a name of `msae_jax.data`, or a path to a user's arrays.
      pipeline: `resident` keeps the whole set on the device; `streaming` reads it batch by batch.
      best_metric: the metric (lower is better) whose best checkpoint is kept beside the latest.
      checkpoint_every: epochs between checkpoints; the last epoch always has one.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    data: str = "sines"
    objective: Objective = field(default_factory=Objective)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    epochs: int = 10
    batch_size: int = 128
    seed: int = 0
    early_stopping: EarlyStopping | None = None
    pipeline: Literal["resident", "streaming"] = "resident"
    best_metric: str = "test_loss"
    checkpoint_every: int = 1

    def __post_init__(self) -> None:
        kinds = {"model": ModelConfig, "objective": Objective, "optimizer": OptimizerConfig}
        for name, kind in kinds.items():
            if not isinstance(value := getattr(self, name), kind):
                raise InputError(f"{name} must be a config.{kind.__name__}, got {value!r}.")
        if not isinstance(self.early_stopping, EarlyStopping | None):
            raise InputError(
                "early_stopping must be a config.EarlyStopping or None, got "
                f"{self.early_stopping!r}."
            )
        _whole("epochs", self.epochs, 1)
        _whole("batch size", self.batch_size, 1)
        _whole("seed", self.seed, 0)
        _whole("checkpoint_every", self.checkpoint_every, 1)
        if self.seed >= 2**32:
            raise InputError(f"seed must be below 2**32, got {self.seed}.")
        _choice("pipeline", self.pipeline, ("resident", "streaming"))
        _choice("metric", self.best_metric, METRICS)


def to_dict(config: Any) -> dict[str, Any]:
    """Returns the configuration as nested dicts of JSON values."""
    return dataclasses.asdict(config)


def from_dict(cls: type[T], values: Mapping[str, Any]) -> T:
    """Builds the configuration class `cls` from nested dicts.

    Raises:
      InputError: a field that `cls` does not have, or a value that it refuses.
    """
    hints = typing.get_type_hints(cls)
    known = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            raise unknown_name(f"field of {cls.__name__}", name, known)
    return cls(**{name: _field(name, hints[name], value) for name, value in values.items()})


def _field(name: str, hint: Any, value: Any) -> Any:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for option in options:
        if dataclasses.is_dataclass(option) and value is not None:
            if not isinstance(value, Mapping):
                raise InputError(f"{name} has fields of its own, set those; got {value!r}.")
            return from_dict(option, value)  # type: ignore[arg-type]
    if hint is str and not isinstance(value, str):
        raise InputError(f"{name} must be text, got {value!r}.")
    return value


def differences(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> dict[str, tuple]:
    """Returns `{dotted field: (value in a, value in b)}` of every field that differs."""
    found: dict[str, tuple] = {}
    for name in sorted({*a, *b}):
        left, right = a.get(name), b.get(name)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found |= differences(left, right, f"{prefix}{name}.")
        elif left != right:
            found[prefix + name] = (left, right)
    return found


def override(settings: TrainConfig, changes: Mapping[str, Any]) -> TrainConfig:
    """Returns `settings` with fields replaced by dotted name, e.g. `optimizer.learning_rate`.

    A name that is no field of `TrainConfig` is an option of the model: `latent_dim` is
    `model.options.latent_dim`. Naming a field of `early_stopping` turns it on.

    Raises:
      InputError: a field that does not exist, or a value that it refuses.
    """
    values = to_dict(settings)
    top = {f.name for f in dataclasses.fields(TrainConfig)}
    for name, value in changes.items():
        first, *rest = name.split(".")
        *parents, leaf = [first, *rest] if first in top else ["model", "options", *name.split(".")]
        node = values
        for parent in parents:
            if not isinstance(node.get(parent), dict):
                node[parent] = {}
            node = node[parent]
        node[leaf] = value
    try:
        return from_dict(TrainConfig, values)
    except TypeError as error:
        raise InputError(f"incomplete configuration: {error}.") from error


def parse_assignment(text: str) -> tuple[str, Any]:
    """Splits `field=value`; the value is JSON where it parses as such, else a string.

    Raises:
      InputError: there is no `=`.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InputError(f"expected FIELD=VALUE, got {text!r}.")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
