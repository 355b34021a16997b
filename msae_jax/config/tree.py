"""The frozen dataclasses of a configuration, which check their values when they are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from msae_jax.config.adversarial import Adversarial
from msae_jax.config.checks import at_least as _at_least
from msae_jax.config.checks import choice as _choice
from msae_jax.config.checks import whole as _whole
from msae_jax.config.metrics import METRICS
from msae_jax.errors import InputError

LIKELIHOODS = ["gaussian", "bernoulli"]
"""The names that `Objective.likelihood` takes; `msae_jax.train.losses.register` adds to them."""


@dataclass(frozen=True)
class ModelConfig:
    """Which model is trained, and how its weights begin.

    Attributes:
      name: a registered model, `package.module:Class`, or the path of a `.pt2`.
      options: the fields of the model that differ from its defaults, such as `latent_dim`.
      init_scheme: whose default initial weights are drawn, PyTorch's or Flax's.
    """

    name: str = "msae"
    options: Mapping[str, Any] = field(default_factory=dict)
    init_scheme: Literal["torch", "flax"] = "torch"

    def __post_init__(self) -> None:
        _choice("init", self.init_scheme, ("torch", "flax"))
        if not isinstance(self.options, Mapping):
            raise InputError(f"options must be fields of the model, got {self.options!r}.")


@dataclass(frozen=True)
class Objective:
    """What is minimised; see `msae_jax.train.losses` for the equations.

    Attributes:
      likelihood: `gaussian` (unit variance: squared error), `bernoulli` (cross-entropy from
        logits, data in [0, 1]), another registered name, or your own as `package.module:name`.
      reduction: `mean` over samples and pixels (PyTorch's `MSELoss` and `BCELoss`), `batchmean`
        (nats, summed over a sample, mean over the batch) or `sum` (nats, summed over both).
      beta: the weight of the KL term of a variational model.
      noise_std: the standard deviation of the Gaussian noise that training adds to the input and
        not to the target.
      anneal_epochs, anneal_steps: how long the weight of the KL term rises from 0 to beta; give one
        of them.
      free_bits: nats that the KL term counts at least for each latent.
      mmd: the weight of the maximum mean discrepancy of the latents from N(0, I); the equations of
        this and the next terms are in `msae_jax.train.regularizers`.
      mmd_kernel: the kernel of that discrepancy.
      l1: the weight of the latents' absolute values.
      contractive: the weight of the encoder's squared Jacobian.
      equivariance: the weight of the decoder's equivariance; it needs a model with latents for each
        time step.
      equivariance_transform: the transforms that equivariance is asked for, written like `augment`.
      augment: of series, the transforms that change each training batch, such as
        `jitter:0.1,drift:0.2`; see `msae_jax.train.transforms`. The target is the changed series.
    """

    likelihood: str = "gaussian"
    reduction: Literal["mean", "batchmean", "sum"] = "mean"
    beta: float = 1.0
    noise_std: float = 0.0
    anneal_epochs: int = 0
    anneal_steps: int = 0
    free_bits: float = 0.0
    mmd: float = 0.0
    mmd_kernel: Literal["imq", "rbf"] = "imq"
    l1: float = 0.0
    contractive: float = 0.0
    equivariance: float = 0.0
    equivariance_transform: str = "jitter:0.2,scaling:0.2,magnitude-warp:0.2,drift:0.2,trend:0.2"
    augment: str = ""

    def __post_init__(self) -> None:
        if ":" not in self.likelihood:
            _choice("likelihood", self.likelihood, LIKELIHOODS)
        _choice("reduction", self.reduction, ("mean", "batchmean", "sum"))
        _choice("mmd_kernel", self.mmd_kernel, ("imq", "rbf"))
        weights = ("free_bits", "mmd", "l1", "contractive", "equivariance")
        for name in ("beta", "noise_std", *weights):
            _at_least(name, getattr(self, name), 0.0)
        if self.augment and self.likelihood == "bernoulli":
            raise InputError("augment leaves [0, 1], which the bernoulli likelihood needs.")
        for name in ("anneal_epochs", "anneal_steps"):
            _whole(name, getattr(self, name), 0)
        if self.anneal_epochs and self.anneal_steps:
            raise InputError("give anneal_epochs or anneal_steps, not both.")


@dataclass(frozen=True)
class OptimizerConfig:
    """An Optax optimiser by name, its schedule, and clipping of the gradient's global norm.

    Attributes:
      name: the optimiser.
      learning_rate: the peak of the schedule.
      schedule: how the learning rate goes on after the warm-up: it stays, or falls to
        `final_fraction` of the peak at the end of training.
      warmup_steps: the steps in which the learning rate rises from 0 to the peak.
      final_fraction: where `cosine` and `linear` end, as a fraction of the peak.
      momentum: the momentum of `sgd` and `rmsprop`; the others take none.
      weight_decay: the decoupled weight decay of `adamw` and `lion`; the others take none.
      no_decay: the parameters that weight decay leaves alone, such as `*bias*,scale`; see
        `msae_jax.train.selection`.
      clip_norm: the bound of the gradient's global norm; None does not clip.
      ema: the decay d of an exponential moving average of the parameters; 0 keeps none. After step
        t it is sum_i d^(t-i) w_i / sum_i d^(t-i) over the parameters w_i after each step i, and it
        is what is tested, kept and exported in their place.
    """

    name: Literal["adam", "adamw", "sgd", "rmsprop", "lion"] = "adam"
    learning_rate: float = 1e-3
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    warmup_steps: int = 0
    final_fraction: float = 0.0
    momentum: float = 0.0
    weight_decay: float = 0.0
    no_decay: str = ""
    clip_norm: float | None = None
    ema: float = 0.0

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
        if self.no_decay and not self.weight_decay:
            raise InputError("no_decay needs a weight_decay, which is 0.")
        _at_least("ema", self.ema, 0.0)
        if self.ema >= 1.0:
            raise InputError(f"ema must be below 1, such as 0.999, got {self.ema!r}.")
        if self.final_fraction and self.schedule == "constant":
            raise InputError("final_fraction needs schedule 'cosine' or 'linear', got 'constant'.")


@dataclass(frozen=True)
class EarlyStopping:
    """Stops a seed when its metric has not improved for some epochs.

    Attributes:
      patience: the epochs without an improvement after which a seed stops.
      metric: the metric that is watched; lower is better.
    """

    patience: int
    metric: str = "test_loss"

    def __post_init__(self) -> None:
        _whole("patience", self.patience, 1)
        _choice("metric", self.metric, METRICS)


@dataclass(frozen=True)
class TrainConfig:
    """One training run of one seed.

    Attributes:
      model: which model, and its fields.
      data: a name of `msae_jax.data`, a path to a user's arrays, or `package.module:name`.
      objective: what is minimised.
      optimizer: how it is minimised.
      epochs: how often the training part is gone through.
      batch_size: the samples of a step.
      accumulate: into how many parts each batch is divided. They are computed one after another,
        which takes less memory, and their gradients are added up before the step.
      precision: of what a training step multiplies: `bfloat16` rounds the operands of its matrix
        products and convolutions. Sums, parameters, losses and statistics stay float32, and so does
        all that is no training.
      seed: what the initial weights, the order of the samples and the noise are drawn from.
      init_from: the weights to begin with instead: the path of a run, of a model card, or of a
        `.pth`, `.safetensors` or `.pt2` file. Of a run of many seeds, each begins with its own.
      freeze: what keeps the values that it begins with: `encoder`, `decoder`, or names of
        parameters such as `conv_*,norm_0`; see `msae_jax.train.selection`.
      adversarial: the discriminator that the model is trained against; None trains without one.
      early_stopping: when to stop before the last epoch; None trains all of them.
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
    accumulate: int = 1
    precision: Literal["float32", "bfloat16"] = "float32"
    seed: int = 0
    init_from: str | None = None
    freeze: str = ""
    adversarial: Adversarial | None = None
    early_stopping: EarlyStopping | None = None
    pipeline: Literal["resident", "streaming"] = "resident"
    best_metric: str = "test_loss"
    checkpoint_every: int = 1

    def __post_init__(self) -> None:
        kinds = {"model": ModelConfig, "objective": Objective, "optimizer": OptimizerConfig}
        for name, kind in kinds.items():
            if not isinstance(value := getattr(self, name), kind):
                raise InputError(f"{name} must be a config.{kind.__name__}, got {value!r}.")
        optional = {"adversarial": Adversarial, "early_stopping": EarlyStopping}
        for name, kind in optional.items():
            if not isinstance(value := getattr(self, name), kind | None):
                raise InputError(f"{name} must be a config.{kind.__name__} or None, got {value!r}.")
        _whole("epochs", self.epochs, 1)
        _whole("batch size", self.batch_size, 1)
        _whole("accumulate", self.accumulate, 1)
        if self.accumulate > self.batch_size:
            raise InputError(
                f"accumulate divides a batch of {self.batch_size} samples: it cannot have "
                f"{self.accumulate} parts."
            )
        if self.accumulate > 1 and (self.objective.mmd or self.objective.free_bits):
            raise InputError(
                "mmd and free_bits are of a whole batch, not a sum over its samples: they cannot "
                "be accumulated over parts of it. Leave accumulate at 1."
            )
        self._check_opponent()
        if not isinstance(self.init_from, str | None) or self.init_from == "":
            raise InputError(f"init_from must be the path of weights, got {self.init_from!r}.")
        _whole("seed", self.seed, 0)
        _whole("checkpoint_every", self.checkpoint_every, 1)
        if self.seed >= 2**32:
            raise InputError(f"seed must be below 2**32, got {self.seed}.")
        _choice("precision", self.precision, ("float32", "bfloat16"))
        _choice("pipeline", self.pipeline, ("resident", "streaming"))
        _choice("metric", self.best_metric, METRICS)

    def _check_opponent(self) -> None:
        """Raises InputError where all that could win against the discriminator is frozen."""
        if self.adversarial is None:
            return
        player = "encoder" if self.adversarial.on == "latents" else "decoder"
        if player in (part.strip() for part in self.freeze.split(",")):
            raise InputError(
                f"adversarial {self.adversarial.on!r} trains the {player}, which freeze names: "
                "leave out one of them."
            )
