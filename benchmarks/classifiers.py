"""Trains the classifiers in whose features samples are measured, and writes what is shipped.

    python -m benchmarks.classifiers --data mnist
    python -m benchmarks.classifiers --data fashion_mnist
    python -m benchmarks.classifiers --data cifar10 --zip cifar10_jpeg.zip

Each takes two to four minutes of processor time, and gives the same weights again on the same
machine: the seed decides everything random. The weights are kept in half precision, and the test
accuracy is theirs after that. A zip with the members `train/CLASS/*.jpg` and `test/CLASS/*.jpg` may
stand for the official files of CIFAR-10. Compression has changed its values a little, which the
JSON file says.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import io
import json
import time
import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict

from msae_jax import data
from msae_jax.data import Dataset, Split
from msae_jax.generation.classifiers import FOLDER, Network, read
from msae_jax.interop.files.tensor_files import write_safetensors
from msae_jax.train import to_unit

BATCH, LEARNING_RATE, WEIGHT_DECAY = 256, 4e-3, 1e-2
EPOCHS = {"mnist": 6, "fashion_mnist": 10, "cifar10": 8}
SHIFT = 2
"""Pixels by which a training image is moved at most, along each axis."""

MIRRORED = ("fashion_mnist", "cifar10")
"""Where the mirror image of a picture is of the same class."""


@functools.partial(jax.jit, static_argnums=1)
def changed(key: jax.Array, mirror: bool, x: jax.Array) -> jax.Array:
    """Returns images `[B, H, W, C]`, each moved by some pixels and, if wanted, mirrored or not."""
    moves, mirrors = jax.random.split(key)
    size = x.shape[1:]
    padded = jnp.pad(x, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)))
    starts = jax.random.randint(moves, (len(x), 2), 0, 2 * SHIFT + 1)

    def cut(image: jax.Array, start: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(image, (start[0], start[1], 0), size)

    x = jax.vmap(cut)(padded, starts)
    if mirror:
        flip = jax.random.bernoulli(mirrors, 0.5, (len(x), 1, 1, 1))
        x = jnp.where(flip, x[:, :, ::-1], x)
    return x


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def train_epoch(
    network: Network,
    optimizer: optax.GradientTransformation,
    mirror: bool,
    variables: Any,
    opt_state: Any,
    x: jax.Array,
    y: jax.Array,
    key: jax.Array,
) -> tuple[Any, Any, jax.Array]:
    """Returns variables and optimiser after an epoch, and its mean loss in nats."""
    steps = len(x) // BATCH
    order = jax.random.permutation(jax.random.fold_in(key, steps), len(x))

    def loss(params: Any, stats: Any, images: jax.Array, classes: jax.Array) -> Any:
        variables = {"params": params, "batch_stats": stats}
        (_, logits), new = network.apply(variables, images, train=True, mutable=["batch_stats"])
        nats = optax.softmax_cross_entropy_with_integer_labels(logits, classes)
        return nats.mean(), new["batch_stats"]

    def step(carry: Any, i: jax.Array) -> Any:
        variables, opt_state = carry
        rows = jax.lax.dynamic_slice_in_dim(order, i * BATCH, BATCH)
        images = changed(jax.random.fold_in(key, i), mirror, to_unit(x[rows]))
        params, stats = variables["params"], variables["batch_stats"]
        (nats, stats), grad = jax.value_and_grad(loss, has_aux=True)(params, stats, images, y[rows])
        update, opt_state = optimizer.update(grad, opt_state, params)
        params = optax.apply_updates(params, update)
        return ({"params": params, "batch_stats": stats}, opt_state), nats

    carry, nats = jax.lax.scan(step, (variables, opt_state), jnp.arange(steps))
    return *carry, nats.mean()


def trained(dataset: Dataset, network: Network, epochs: int, seed: int) -> Any:
    """Returns the variables of a network after training; prints the loss of each epoch."""
    x, y = jnp.asarray(dataset.train.x), jnp.asarray(dataset.train.y)
    first, *rest = jax.random.split(jax.random.key(seed), epochs + 1)
    variables: Any = jax.jit(network.init)(first, jnp.zeros((1, *dataset.sample_shape)))
    steps = epochs * (len(x) // BATCH)
    rate = optax.cosine_onecycle_schedule(steps, LEARNING_RATE)
    optimizer = optax.adamw(rate, weight_decay=WEIGHT_DECAY)
    opt_state = optimizer.init(variables["params"])
    mirror = dataset.name in MIRRORED
    for epoch, key in enumerate(rest):
        begin = time.perf_counter()
        variables, opt_state, nats = train_epoch(
            network, optimizer, mirror, variables, opt_state, x, y, key
        )
        print(f"epoch {epoch + 1}: {float(nats):.4f} nats, {time.perf_counter() - begin:.1f} s")
    return jax.device_get(variables)


def pictures(path: Path) -> Dataset:
    """Returns the pictures of a zip as CIFAR-10; see the module."""
    from PIL import Image

    with zipfile.ZipFile(path) as archive:
        members = sorted(n for n in archive.namelist() if n.lower().endswith((".jpg", ".jpeg")))
        classes = {c: i for i, c in enumerate(sorted({n.split("/")[-2] for n in members}))}
        splits = {}
        for part in ("train", "test"):
            own = [n for n in members if part in n.split("/")[:-1]]
            x = [np.asarray(Image.open(io.BytesIO(archive.read(n))).convert("RGB")) for n in own]
            y = np.array([classes[n.split("/")[-2]] for n in own], np.int32)
            splits[part] = Split(np.stack(x), y)
    return Dataset("cifar10", splits["train"], splits["test"])


def write(folder: Path, name: str, variables: Any, facts: dict[str, Any], test: Split) -> float:
    """Writes weights and JSON file, and returns the accuracy of what was written."""
    arrays = {
        key: np.asarray(a, np.float16 if a.dtype.kind == "f" else a.dtype)
        for key, a in flatten_dict(variables, sep=".").items()
    }
    path = folder / f"{name}.safetensors"
    write_safetensors(path, arrays, overwrite=True)
    facts["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    own = read(path, name, facts | {"test_accuracy": 0.0})
    assert test.y is not None
    facts["test_accuracy"] = round(float(np.mean(own.outputs(test.x).classes == test.y)), 4)
    (folder / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
    return facts["test_accuracy"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", required=True, help="mnist, fashion_mnist, cifar10")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--zip", type=Path, help="JPEG pictures in the place of official files")
    parser.add_argument("--epochs", type=int, help="[6, 10, 8 of the data sets in this order]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=FOLDER)
    given = parser.parse_args()
    dataset = pictures(given.zip) if given.zip else data.load(given.data, data_dir=given.data_dir)
    network = Network()
    epochs = given.epochs or EPOCHS[given.data]
    begin = time.process_time()
    variables = trained(dataset, network, epochs, given.seed)
    source = f"{given.data}, official files" if given.zip is None else f"{given.data}, as JPEG"
    facts: dict[str, Any] = {
        "data": source, "train": len(dataset.train.x), "test": len(dataset.test.x),
        "image_shape": list(dataset.sample_shape), "classes": network.classes,
        "channels": list(network.channels), "features": network.hidden, "seed": given.seed,
        "epochs": epochs, "batch_size": BATCH, "learning_rate": LEARNING_RATE,
        "weight_decay": WEIGHT_DECAY, "shift": SHIFT, "mirror": dataset.name in MIRRORED,
        "cpu_seconds": round(time.process_time() - begin),
    }  # fmt: skip
    accuracy = write(given.out, given.data, variables, facts, dataset.test)
    print(f"{given.data}: {accuracy:.2%} of {len(dataset.test.x)} test images, {given.out}")


if __name__ == "__main__":
    main()
