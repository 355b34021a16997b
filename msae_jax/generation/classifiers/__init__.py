"""Small classifiers of images, shipped with their weights, in whose features samples are measured.

`benchmarks/classifiers.py` trained them. Beside the weights of each lies a JSON file that says on
which data, how, from which seed, and what share of the test images it recognises.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict

from msae_jax.data import Samples
from msae_jax.errors import InputError, unknown_name
from msae_jax.interop.files.tensor_files import read_safetensors
from msae_jax.models.layers import BatchNorm, Conv, Linear
from msae_jax.train import to_unit
from msae_jax.train.evaluation import map_batches, padded_batches

FOLDER = Path(__file__).parent


class Outputs(NamedTuple):
    """What a classifier makes of N images.

    Attributes:
      features: the last hidden layer, after its ReLU, float32 `[N, F]`.
      classes: the likeliest class of each, int32 `[N]`.
    """

    features: np.ndarray
    classes: np.ndarray


class Network(nn.Module):
    """Convolutions with batch norm, each of which halves the image; a hidden layer; logits.

    Attributes:
      channels: of the convolutions, the first of which is 5x5 and the others 3x3.
      hidden: width of the hidden layer, whose values are the features.
    """

    channels: tuple[int, ...] = (24, 48, 80)
    hidden: int = 64
    classes: int = 10

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """Returns features `[B, hidden]` and logits `[B, classes]` of images `[B, H, W, C]`."""
        for i, width in enumerate(self.channels):
            size = 5 if i == 0 else 3
            x = Conv(width, (size, size), stride=2, padding=size // 2, name=f"conv_{i}")(x)
            x = nn.relu(BatchNorm(name=f"norm_{i}")(x, train=train))
        x = Linear(self.hidden, name="features")(x.reshape(len(x), -1))
        x = nn.relu(BatchNorm(name="norm")(x, train=train))
        return x, Linear(self.classes, name="logits")(x)


@dataclass(frozen=True)
class Classifier:
    """A trained classifier of images.

    Attributes:
      name: of the data that it was trained on.
      image_shape: (H, W, C). accuracy: share of its data's test images that it recognises.
      facts: all that its JSON file says.
    """

    name: str
    image_shape: tuple[int, ...]
    accuracy: float
    facts: Mapping[str, Any]
    network: Network
    variables: Mapping[str, Any]

    def outputs(self, x: Samples) -> Outputs:
        """Returns features and classes of images `[N, ...]`, in any shape of as many values.

        uint8 is divided by 255. float32 is in [0, 1]; what is beyond is cut off, as on a screen.

        Raises:
          InputError: they are of another size, or not finite.
        """
        if not len(x) or math.prod(x.shape[1:]) != math.prod(self.image_shape):
            raise InputError(
                f"the classifier of {self.name} knows images {list(self.image_shape)}, got "
                f"{list(x.shape)}."
            )
        if isinstance(x, np.ndarray) and not np.isfinite(x).all():
            raise InputError("some samples are not finite numbers: they cannot be measured.")

        def step(batch: Any, _: int) -> tuple[jax.Array, jax.Array]:
            images = batch.reshape(len(batch), *self.image_shape)
            return _outputs(self.network, self.variables, images)

        return Outputs(*map_batches(step, padded_batches(x), len(x)))


@functools.partial(jax.jit, static_argnums=0)
def _outputs(
    network: Network, variables: Mapping[str, Any], batch: jax.Array
) -> tuple[jax.Array, jax.Array]:
    found = network.apply(variables, jnp.clip(to_unit(batch), 0.0, 1.0))
    features, logits = cast(tuple[jax.Array, jax.Array], found)
    return features, logits.argmax(axis=1).astype(jnp.int32)


def names() -> list[str]:
    """Returns the names of the shipped classifiers: of the data that they were trained on."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


@functools.cache
def classifier(name: str) -> Classifier:
    """Opens a shipped classifier.

    Raises:
      InputError: there is none of this name, or its weights are not those that its JSON describes.
    """
    if name not in names():
        raise unknown_name("classifier", name, names())
    facts = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    path = FOLDER / f"{name}.safetensors"
    return read(path, name, facts)


def read(path: Path, name: str, facts: Mapping[str, Any]) -> Classifier:
    """Reads the weights of a classifier, in float32.

    Raises:
      InputError: they are missing, or their SHA-256 is another than `facts` says.
    """
    arrays = read_safetensors(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != facts["sha256"]:
        raise InputError(
            f"{path} has the SHA-256 {digest[:16]}..., expected {facts['sha256'][:16]}...: it was "
            "changed; install the package anew."
        )
    wide = {key: a if a.dtype.kind == "i" else a.astype(np.float32) for key, a in arrays.items()}
    network = Network(tuple(facts["channels"]), facts["features"], facts["classes"])
    shape, accuracy = tuple(facts["image_shape"]), facts["test_accuracy"]
    return Classifier(name, shape, accuracy, facts, network, unflatten_dict(wide, sep="."))
