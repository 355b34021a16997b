"""What the study of generation trains: seven methods on three data sets, at equal layers.

Each setting is published, a default of the library, or a matter of time:

- layers: those of `conv` and `conv-vae` with 8, 16 and 16 channels in place of 32, 64 and 128, so
  that the study takes the time that it may; the same for all methods, but that a variational one
  has a second linear layer, to the log variances, and the conditional one sees the class.
- latents: 8 for grey images, as Tolstikhin et al. have on MNIST, and 64 for colour images, as they
  have on CelebA.
- reconstruction: the cross-entropy of pixels, in nats, for all but the VAE-GAN, which compares
  features of its discriminator (Larsen et al.).
- beta-VAE: beta = 4 (Higgins et al.).
- WAE-MMD: Tolstikhin et al. publish a weight of 10 on MNIST and of 100 on CelebA, both with their
  inverse multiquadratic kernel, and the authors' program counts the squared error 0.05 times: of
  pixels from 0 to 1 on MNIST, from -1 to 1 on CelebA. The cross-entropy exceeds its least value by
  twice the squared error or more. So the same balance is 10 / 0.05 * 2 = 400, and
  100 / (4 * 0.05) * 2 = 1,000. Their program adds up kernels of seven scales, ours has one.
- adversarial autoencoder: Makhzani et al. step in turn and have no weight; it is 10, as in
  `docs/how-to/adversarial.md`.
- VAE-GAN: the defaults of `config.Adversarial`, but for a discriminator of 8 channels, a quarter
  of them, for its time.
- Adam at 1e-3, the default, in batches of 64, half of the default: an epoch takes no longer, and
  has twice as many steps.

Before the study was run, one seed of the autoencoder, the VAE, WAE-MMD and the two adversarial
methods was trained on five sixths of the training images of MNIST and measured on the other sixth,
and the adversarial methods for one and two epochs on those of CIFAR-10: to see how long an epoch
takes, from which the numbers of channels, epochs and samples of a batch follow, and that no player
wins (on MNIST, after four epochs, discriminators lost 0.61 and 0.64 nats). No weight was changed.
No test image was used.

The conditional VAE is told the class, when it reconstructs and when it generates: what it does is
not what the others do, and said apart.

Sources: Kingma and Welling (2013); Higgins et al. (2017); Tolstikhin et al. (2018); Makhzani et al.
(2016); Larsen et al. (2016); Sohn et al. (2015); Ghosh et al. (2020), for fitted priors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from msae_jax.config import Adversarial, ModelConfig, Objective, TrainConfig

CHANNELS = [8, 16, 16]
EPOCHS, BATCH_SIZE = 3, 64
CLASSES = 10
OBJECTIVE = Objective("bernoulli", "batchmean")


class Method(NamedTuple):
    """A way to train and to draw latents.

    Attributes:
      words: its name. model: of `conv` and `conv-vae`.
      objective: fields of `config.Objective` that differ from `OBJECTIVE`.
      priors: that latents are drawn from: N(0, I), which training asks for, or fitted ones.
      conditional: whether it is given the class.
    """

    words: str
    model: str = "conv-vae"
    objective: Mapping[str, Any] = {}
    adversarial: Adversarial | None = None
    priors: tuple[str, ...] = ("standard",)
    conditional: bool = False

    @property
    def variational(self) -> bool:
        """Whether it has a posterior, and with it bounds of the likelihood."""
        return self.model == "conv-vae"


METHODS = {
    "ae": Method("autoencoder", "conv", priors=("gaussian", "mixture", "flow")),
    "vae": Method("VAE"),
    "beta-vae": Method("beta-VAE", objective={"beta": 4.0}),
    "wae-mmd": Method("WAE-MMD", "conv", {"mmd": None}),  # the weight is the data set's
    "adversarial": Method(
        "adversarial autoencoder", "conv", adversarial=Adversarial("latents", weight=10.0)
    ),
    "vae-gan": Method("VAE-GAN", adversarial=Adversarial("images", similarity="features", width=8)),
    "conditional": Method("conditional VAE", conditional=True),
}
LONGEST_FIRST = ("vae-gan", "conditional", "ae", "adversarial", "wae-mmd", "beta-vae", "vae")


class DataSet(NamedTuple):
    """A data set, whose name is also that of its classifier.

    Attributes:
      mmd: the weight of WAE-MMD.
    """

    words: str
    latent_dim: int
    mmd: float


SETS = {
    "mnist": DataSet("MNIST", 8, 400.0),
    "fashion_mnist": DataSet("Fashion-MNIST", 8, 400.0),
    "cifar10": DataSet("CIFAR-10", 64, 1000.0),
}
QUICK_SETS = ("mnist",)
"""With `--quick` all would be the same digits."""


PRIORS = {"gaussian": "Gaussian prior", "mixture": "mixture prior", "flow": "flow prior"}


class Contender(NamedTuple):
    """A method with the prior that its latents are drawn from."""

    method: str
    prior: str

    @property
    def id(self) -> str:
        return self.method if self.prior == "standard" else f"{self.method}-{self.prior}"

    @property
    def words(self) -> str:
        name = METHODS[self.method].words
        return name if self.prior == "standard" else f"{name}, {PRIORS[self.prior]}"


CONTENDERS = tuple(
    Contender(name, prior) for name, method in METHODS.items() for prior in method.priors
)


def configuration(
    key: str, method: str, data_name: str, image_shape: tuple[int, ...]
) -> TrainConfig:
    """Returns what a method trains with on a data set of `SETS`.

    Args:
      data_name: of what it is trained on. image_shape: (H, W, C) of its images.
    """
    chosen, own = METHODS[method], SETS[key]
    options: dict[str, Any] = {"channels": CHANNELS, "latent_dim": own.latent_dim}
    if chosen.conditional:
        options |= {"classes": CLASSES, "image_shape": list(image_shape)}
    changes: dict[str, Any] = {
        name: own.mmd if name == "mmd" else v for name, v in chosen.objective.items()
    }
    return TrainConfig(
        ModelConfig(chosen.model, options),
        data=data_name,
        objective=replace(OBJECTIVE, **changes),
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        adversarial=chosen.adversarial,
    )


def run_name(key: str, method: str) -> str:
    """Returns the name of the run of a method on a data set."""
    return f"{key}-{method}"
