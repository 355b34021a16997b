"""Options that set fields of the configuration: a row each, for every command that trains."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

import typer

from msae_jax import config


class Setting(NamedTuple):
    """One option.

    Attributes:
      field: of the configuration, as `--set` has it; the type of the option is that of the field.
      flags: its names; by default the field's last part.
    """

    field: str
    help: str | None = None
    flags: tuple[str, ...] = ()

    @property
    def parameter(self) -> str:
        return self.field.replace(".", "_")

    @property
    def option(self) -> Any:
        flags = self.flags or (f"--{self.field.rpartition('.')[2].replace('_', '-')}",)
        return Annotated[_plain_type(self.field) | None, typer.Option(*flags, help=self.help)]


def _plain_type(field: str) -> Any:
    """Returns the type of a dotted field as the command line can read it: a Literal is a str."""
    cls: Any = config.TrainConfig
    *parents, leaf = field.split(".")
    for part in parents:
        cls = _without_none(typing.get_type_hints(cls)[part])
    hint = _without_none(typing.get_type_hints(cls)[leaf])
    return str if typing.get_origin(hint) is typing.Literal else hint


def _without_none(hint: Any) -> Any:
    if isinstance(hint, types.UnionType):
        return next(part for part in typing.get_args(hint) if part is not type(None))
    return hint


TRAINING = (
    Setting("data", "Data set (see `msae list`), file, folder, or package.module:name."),
    Setting("seed", "What weights, order and noise are drawn from. [0]"),
    Setting("epochs", "Passes over the training part."),
    Setting("batch_size", "Samples of a step."),
    Setting("accumulate", "Parts of a batch whose gradients are added up. [1]"),
    Setting("precision", "Of products in training: float32 or bfloat16. [float32]"),
    Setting("optimizer.learning_rate", "The peak of the schedule.", ("--learning-rate", "--lr")),
    Setting("optimizer.name", "adam, adamw, sgd, rmsprop, lion.", ("--optimizer",)),
    Setting("optimizer.schedule", "constant, cosine, linear."),
    Setting("optimizer.clip_norm", "Bound of the gradient norm."),
    Setting("optimizer.weight_decay", "Of adamw and lion."),
    Setting("optimizer.no_decay", "Parameters that do not decay: '*bias*,scale'."),
    Setting("optimizer.ema", "Decay of the moving average of weights that is tested and kept."),
    Setting("objective.likelihood", "gaussian (MSE), bernoulli (BCE), or package.module:name."),
    Setting("objective.reduction", "mean, batchmean, sum."),
    Setting("objective.beta", "Weight of the KL term."),
    Setting("objective.anneal_epochs", "In which beta rises from 0."),
    Setting("objective.anneal_steps", "The same, in steps."),
    Setting("objective.free_bits", "Nats of KL that each latent counts at least."),
    Setting("objective.mmd", "Weight of the latents' MMD from N(0, I)."),
    Setting("objective.mmd_kernel", "imq or rbf."),
    Setting("objective.l1", "Weight of the latents' absolute values."),
    Setting("objective.contractive", "Weight of the encoder's squared Jacobian."),
    Setting("adversarial.on", "Trains a discriminator, of latents or images.", ("--adversarial",)),
    Setting("adversarial.weight", "Of what the model loses to it. [1]", ("--adversarial-weight",)),
    Setting("adversarial.similarity", "What images are compared by: pixels, features. [pixels]"),
    Setting("early_stopping.patience", "Epochs; stops early."),
    Setting("early_stopping.metric", "For --patience. [test_loss]", ("--stop-metric",)),
    Setting("model.init_scheme", "Initial weights: torch or flax.", ("--init",)),
    Setting("init_from", "Weights to begin with: a run, a card, .pth, .safetensors, .pt2."),
    Setting("freeze", "What is not trained: encoder, decoder, or parameters: 'conv_*,norm_0'."),
    Setting("pipeline", "resident or streaming."),
    Setting("checkpoint_every", "Epochs. [1]"),
    Setting("best_metric", "Whose best checkpoint is kept, too. [test_loss]"),
)


def with_settings(settings: tuple[Setting, ...]) -> Callable[[Any], Any]:
    """Gives a command an option for each setting; `changes` gets those given, by their fields."""
    fields = {setting.parameter: setting.field for setting in settings}
    added = {setting.parameter: Added(setting.option) for setting in settings}

    def changes(given: dict[str, Any]) -> dict[str, Any]:
        return {fields[name]: value for name, value in given.items() if value is not None}

    return with_options("changes", added, changes)


class Added(NamedTuple):
    """An option that a decorator adds to a command."""

    annotation: Any
    default: Any = None


def with_options(
    parameter: str, added: Mapping[str, Added], make: Callable[[dict[str, Any]], Any]
) -> Callable[[Any], Any]:
    """Gives a command options in place of a parameter, which gets what `make` makes of them."""

    def decorate(command: Any) -> Any:
        @functools.wraps(command)
        def run(**values: Any) -> Any:
            given = {name: values.pop(name) for name in added}
            return command(**{parameter: make(given)}, **values)

        own = inspect.signature(command, eval_str=True).parameters.values()
        listed = [
            *(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own if p.name != parameter),
            *(
                inspect.Parameter(
                    name, inspect.Parameter.KEYWORD_ONLY, default=option.default,
                    annotation=option.annotation,
                )
                for name, option in added.items()
            ),
        ]  # fmt: skip
        del run.__wrapped__  # its signature would count
        run.__signature__ = inspect.Signature(listed)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in listed}
        return run

    return decorate
