"""Verifies that a file of PyTorch weights computes in JAX what it computes in PyTorch."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from msae_jax import data, models
from msae_jax.config import ModelConfig
from msae_jax.data.dataset import take
from msae_jax.errors import InputError
from msae_jax.interop import mapping
from msae_jax.interop.autoencoder import Autoencoder
from msae_jax.interop.torch_files import (
    Weights,
    assumptions,
    float32,
    load_with_tensors,
    state_dict,
)
from msae_jax.interop.verification.certificate import Certificate, Check
from msae_jax.interop.verification.choices import BATCH, CANDIDATES, STEPS, first_passing
from msae_jax.interop.verification.comparison import compare
from msae_jax.interop.verification.programs import verify_program
from msae_jax.interop.verification.trace import Problem, latent_noise, trace
from msae_jax.runs.arrays import digest
from msae_jax.system import environment
from msae_jax.system.files import replacing
from msae_jax.system.names import is_program
from msae_jax.train import evaluation

if TYPE_CHECKING:
    import torch

MOST = 4_096  # samples that are looked at of a data set
PRECISION = "float32, matmul precision highest"

# SHA-256 of a published state dict (`runs.arrays.digest`) -> data set and test MSE, each of them in
# the published project's own results file.
RECORDED = {
    "048405baeaf1377fe60d66ade2764b39a80638b8639408d40c180ef4ac847ee6":  # msae.pth
        ("sines", 0.0034824131056666375),
    "fddaf1c02c3a7e699f527036f96b19a3c6e04f8ba9cd977f783df46900055fca":  # baseae.pth
        ("sines", 0.004252883847802877),
}  # fmt: skip

BUFFERS = ("running_mean", "running_var", "num_batches_tracked")  # saved, but not trained


def verify(
    path: str | Path,
    model: str | ModelConfig | None = None,
    *,
    data_name: str | None = None,
    data_dir: str | Path | None = None,
    reference: torch.nn.Module | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    key: str | None = None,
) -> Certificate:
    """Returns the certificate of a `.pth` or `.safetensors` file.

    Without PyTorch: keys, shapes, parameter count, finite values, the round trip, and the recorded
    figure of a published file. With it also outputs, layers, loss, gradients and ten steps of
    training.

    Args:
      model: where keys and shapes do not tell.
      data_name: the data set to compute with; by default the model's own where it needs no
        download, else `digits` where it fits, else uniform noise.
      reference: the PyTorch module of a model of your own; see `torch_trace.trace`.
      out: where to write the certificate as JSON, whole or not at all.
      key: which state dict of a file of several (`interop.read_pth`).

    Raises:
      InputError: the file cannot be read or does not fit; the data do not fit the model; `out`
        exists and `overwrite` is False.
    """
    if out is not None and out.exists() and not overwrite:
        raise InputError(f"{out} exists: choose another --json, or --overwrite to replace it.")
    certificate = _verify(path, model, data_name, data_dir, reference, key)
    if out is not None:
        with replacing(out, overwrite) as temporary:
            temporary.write_text(json.dumps(certificate.to_dict(), indent=2) + "\n")
    return certificate


def _verify(
    path: str | Path,
    model: str | ModelConfig | None,
    data_name: str | None,
    data_dir: str | Path | None,
    reference: torch.nn.Module | None,
    key: str | None,
) -> Certificate:
    if is_program(str(path)):
        if key is not None or reference is not None:
            raise InputError(f"{path} is a program: it has no --key, and its own graph to compare.")
        return _of_program(path, model, data_name, data_dir)
    stored, tensors = load_with_tensors(path, model, key)
    weights = stored._replace(variables=jax.tree.map(float32, stored.variables))
    name = weights.config.model.name
    count = sum(a.size for key, a in tensors.items() if not key.endswith(BUFFERS))
    subject = {
        "file": str(path),
        "sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest(),
        "model": name,
        "sizes": dict(weights.config.model.options),
        "parameters": count,
    }
    assumed = assumptions(path, weights, ModelConfig(model) if isinstance(model, str) else model)
    if assumed is not None:
        subject["assumed"] = f"{assumed}. This certificate holds for that model only"
    conditions: dict[str, Any] = {**environment.describe(), "precision": PRECISION}
    back = state_dict(stored)
    facts = {
        "keys and shapes": _keys(back, tensors),
        "parameter count": _count(count, weights),
        "round trip": _round_trip(back, tensors),
        "finite": _finite(tensors),
    }
    figure = RECORDED.get(digest(tensors))
    if figure is not None:
        facts["recorded figure"] = _recorded(weights, *figure)
    if importlib.util.find_spec("torch") is None:
        conditions["PyTorch"] = "not installed: outputs, gradients and training are not verified"
        return Certificate(subject, conditions, facts)

    import torch

    source, pool = samples(weights, data_name, data_dir)
    module = models.reference(name, weights.model) if reference is None else reference
    checks, batches = against_torch(weights, pool, module)
    conditions["PyTorch"] = f"{torch.__version__}, CPU"
    listed = ", ".join(map(str, batches[-1]))
    conditions["data"] = f"{source}, batches of {BATCH}, numbers {listed}"
    if len(batches) > 1:
        conditions["data"] += (
            f"; the {len(batches)}. choice of the last {STEPS - 1}: on those before only what "
            "follows the first step was out of tolerance"
        )
    return Certificate(subject, conditions, facts, checks)


def _of_program(
    path: str | Path, model: str | ModelConfig | None, data_name: str | None, data_dir: Any
) -> Certificate:
    """Returns the certificate of a `.pt2`, computed on samples of a data set where one is named."""
    given = ModelConfig(model) if isinstance(model, str) else model
    weights = load_with_tensors(path, given)[0]
    assert isinstance(weights.model, Autoencoder)
    pool = None
    if data_name is not None:
        x = data.load(data_name, data_dir=data_dir).train.x
        x = take(x, np.arange(min(len(x), MOST)))
        x = x.astype(np.float32) / np.float32(255) if x.dtype == np.uint8 else x
        pool = np.asarray(weights.model.as_program(jnp.asarray(x)))
    subject = {"file": str(path), "sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest()}
    conditions = {**environment.describe(), "precision": PRECISION}
    return verify_program(Path(path), weights.model, pool, data_name, subject, conditions)


def against_torch(
    weights: Weights, pool: np.ndarray, module: torch.nn.Module
) -> tuple[list[Check], list[list[int]]]:
    """Compares the model with its PyTorch module, whose weights are replaced by the model's.

    The first batch, on which gradients are compared, is the best conditioned of the pool's first
    `CANDIDATES`, by PyTorch alone: see `torch_trace.best_conditioned`. Later steps can still meet a
    ReLU whose input rounding puts on the other side of zero, in any framework, and Adam amplifies
    that. The rule: of `CHOICES` choices of later batches, which overlap, the first on which every
    check passes counts. Where a check of the first step fails, which all choices share, no other
    is tried. An error of the port that does not depend on the data shows on each choice.

    Args:
      pool: samples `[N, ...]`, N at least `CANDIDATES * BATCH`.

    Returns:
      The checks; and the numbers of the batches of each choice that was tried. The checks are of
      the last, or where none is within tolerance of the first.
    """
    import torch

    from msae_jax.interop.verification import torch_trace

    layout = models.find_layout(weights.config.model.name)
    entries = mapping.table(layout, weights.model)
    batches = pool[: len(pool) // BATCH * BATCH].reshape(-1, BATCH, *weights.model.sample_shape)
    noise = latent_noise(weights, STEPS, BATCH)
    layers, candidates = layout.layers(weights.model), batches[:CANDIDATES]
    problem = Problem(weights, layers, entries, candidates, noise, (1, STEPS))
    first = torch_trace.best_conditioned(module, problem)
    rate = weights.config.optimizer.learning_rate

    def checked(numbers: list[int]) -> list[Check]:
        chosen = problem._replace(batches=batches[numbers])
        exact = torch_trace.trace(module, chosen, torch.float64)
        single = torch_trace.trace(module, chosen, torch.float32)
        return compare(trace(chosen), single, exact, rate)

    return first_passing(first, len(batches), checked)


def samples(
    weights: Weights,
    data_name: str | None = None,
    data_dir: str | Path | None = None,
    count: int = CANDIDATES * BATCH,
) -> tuple[str, np.ndarray]:
    """Returns the name of the data and `count` float32 samples `[N, ...]` for the model.

    Raises:
      InputError: the data set given does not fit the model, or is too small.
    """
    shape, own = weights.sample_shape, weights.config.data
    for name in [data_name] if data_name else [own if own == "sines" else "digits", "digits"]:
        source = data.load(name, data_dir=data_dir).train.x
        if len(source) < count:
            raise InputError(f"the comparison needs {count} samples, {name} has {len(source)}.")
        x = take(source, np.arange(count))
        if x[0].size == int(np.prod(shape)):
            x = x.astype(np.float32) / np.float32(255) if x.dtype == np.uint8 else x
            return str(name), x.reshape(count, *shape)
        if data_name:
            raise InputError(
                f"the model reads samples of shape {list(shape)}, {name} has {list(x.shape[1:])}."
            )
    return "uniform noise", np.random.default_rng(0).random((count, *shape), np.float32)


def _keys(back: dict[str, np.ndarray], tensors: dict[str, np.ndarray]) -> tuple[bool, str]:
    """Says that the keys fit, as they do in a file that could be opened, and which were added."""
    added = ", ".join(key for key in back if key not in tensors)
    if added:
        return True, f"all {len(tensors)} fit; missing and taken as 0, as in PyTorch: {added}"
    return True, f"all {len(tensors)} fit, none missing, unexpected or doubled"


def _count(got: int, weights: Weights) -> tuple[bool, str]:
    """Whether the file trains as many parameters as the model and, at default sizes, as published.

    The sum over the file is taken by PyTorch's names alone, without the mapping.
    """
    counts = {"in the model": models.parameter_count(weights.model)}
    settings = weights.config.model
    published = models.record(settings.name).parameters
    if published is not None and not settings.options:
        counts["published"] = published
    listed = ", ".join(f"{count:,} {where}" for where, count in counts.items())
    return {got} == set(counts.values()), f"{got:,} in the file, {listed}"


def _round_trip(back: dict[str, np.ndarray], tensors: dict[str, np.ndarray]) -> tuple[bool, str]:
    """Whether PyTorch -> Flax -> PyTorch gives the same bits; says whether in the same order."""
    same = back.keys() >= tensors.keys() and all(
        (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
        for a, b in ((back[key], tensors[key]) for key in tensors)
    )
    kept = [key for key in back if key in tensors]
    order = "in order" if kept == list(tensors) else "in PyTorch's order, not the file's"
    return same, f"PyTorch -> Flax -> PyTorch {'is' if same else 'IS NOT'} bit-identical, {order}"


def _finite(tensors: dict[str, np.ndarray]) -> tuple[bool, str]:
    """Whether every value is a number in float32: of NaN, all that is computed is NaN too."""
    bad = [key for key, array in tensors.items() if not np.isfinite(float32(array)).all()]
    if not bad:
        return True, "all values"
    return False, f"NaN or infinite values in {', '.join(bad)}"


def _recorded(weights: Weights, name: str, published: float) -> tuple[bool, str]:
    """Whether the published test MSE comes out, within 1e-6 relative."""
    dataset = data.load(name)
    x = dataset.test.x
    mse = evaluation.evaluate(weights.model, weights.variables, x, weights.config.objective)["mse"]
    off = abs(mse / published - 1)
    return off <= 1e-6, f"test MSE on {name} {mse:.10g}, published {published:.10g}, {off:.1e} off"
