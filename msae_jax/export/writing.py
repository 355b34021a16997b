"""Exports a part of a model to a file, compares the file with JAX, and writes both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from msae_jax.errors import InputError
from msae_jax.export import onnx_format, stablehlo_format
from msae_jax.export.certificate import BatchCheck, ExportCertificate, compared
from msae_jax.export.parts import Name, part
from msae_jax.interop.verification.verify import samples
from msae_jax.system import environment
from msae_jax.system.files import make_folder_of, replacing
from msae_jax.weights import Weights

FORMATS: dict[str, ModuleType] = {"onnx": onnx_format, "stablehlo": stablehlo_format}
BATCHES = (1, 7)
PRECISION = "float32, matmul precision highest"


def export(
    weights: Weights,
    name: Name,
    out: str | Path,
    *,
    format: str | None = None,
    certificate: str | Path | None = None,
    source: str | Path | None = None,
    data_name: str | None = None,
    data_dir: str | Path | None = None,
    overwrite: bool = False,
) -> ExportCertificate:
    """Writes a part of a model as a file of any batch size, and its certificate beside it.

    The file is compared with JAX on batches of 1 and 7 samples. Both files are kept where they
    differ by more than the tolerance, which the certificate then says.

    Args:
      name: `encode`, `decode` or `reconstruct`; see `parts.part`.
      format: `onnx` or `stablehlo`; by default what the suffix of `out` says.
      certificate: where to write it; by default `<out>.json`.
      source: the path of the weights, for the certificate.
      data_name: the data set to compare on; by default as `interop.verify` chooses.

    Raises:
      InputError: the model has no such part, or something in it no translation; a package is
        missing; a file exists and `overwrite` is False. Then nothing is written.
    """
    out = Path(out)
    beside = Path(f"{out}.json") if certificate is None else Path(certificate)
    kind = _format(format, out)
    _check_free(out, beside, overwrite)
    FORMATS[kind].check_installed()
    function, (given,) = part(weights, name)
    about = {"model": weights.config.model.name, "part": name, "input": units(weights, name)}
    file = FORMATS[kind].make(function, [given], about)
    data, x = _inputs(weights, name, given, data_name, data_dir)
    checks, made = _compared(function, FORMATS[kind].opened(file), x)
    conditions = environment.describe()
    conditions["versions"] |= FORMATS[kind].versions()
    subject: dict[str, Any] = {
        "file": str(out),
        "format": kind,
        "sha256": hashlib.sha256(file).hexdigest(),
        "bytes": len(file),
        "weights": None if source is None else str(source),
        "model": weights.config.model.name,
        "sizes": dict(weights.config.model.options),
        "part": name,
        "input": {"dtype": "float32", "shape": _sizes(given), "units": about["input"]},
        "output": {"dtype": str(made.dtype), "shape": _sizes(made)},
    }
    if weights.facts is not None and weights.facts.series is not None:
        subject["series"] = weights.facts.series
    found = ExportCertificate(subject, {**conditions, "precision": PRECISION, "data": data}, checks)
    _write(out, file, beside, _json(found), overwrite)
    return found


def _write(out: Path, file: bytes, beside: Path, certificate: bytes, overwrite: bool) -> None:
    """Writes both files, or neither."""
    for path in (out, beside):
        make_folder_of(path)
    with replacing(out, overwrite) as first:
        first.write_bytes(file)
        with replacing(beside, overwrite) as second:
            second.write_bytes(certificate)


def _check_free(out: Path, beside: Path, overwrite: bool) -> None:
    """Checks that both files can be written."""
    if beside.resolve() == out.resolve():
        raise InputError(f"the certificate cannot be the exported file, {out}: choose another.")
    for path in (out, beside):
        if path.exists() and not overwrite:
            raise InputError(f"{path} exists: choose another, or --overwrite to replace it.")


def _sizes(array: Any) -> list[Any]:
    return ["batch", *array.shape[1:]]


def _json(found: ExportCertificate) -> bytes:
    return (json.dumps(found.to_dict(), indent=2) + "\n").encode()


def _format(given: str | None, out: Path) -> str:
    """Returns the format that is given, or that a suffix tells."""
    kind = out.suffix.removeprefix(".") if given is None else given
    if kind in FORMATS:
        return kind
    if given is None:
        raise InputError(f"{out} does not tell the format: --format onnx or --format stablehlo.")
    raise InputError(f"--format is onnx or stablehlo, got {given!r}.")


def _compared(
    function: Callable[[jax.Array], jax.Array],
    run: Callable[[np.ndarray], np.ndarray],
    x: np.ndarray,
) -> tuple[list[BatchCheck], np.ndarray]:
    """Compares a file with JAX on batches of each size; also returns what JAX made of the last."""
    checks, expected = [], np.empty(0)
    with jax.default_matmul_precision("highest"):
        for batch in BATCHES:
            expected = np.asarray(jax.jit(function)(x[:batch]))
            checks.append(compared(batch, run(x[:batch]), expected))
    return checks, expected


def _inputs(
    weights: Weights,
    name: Name,
    given: jax.ShapeDtypeStruct,
    data_name: str | None,
    data_dir: str | Path | None,
) -> tuple[str, np.ndarray]:
    """Returns what the part is tried on, in words and as an array."""
    data, x = samples(weights, data_name, data_dir, max(BATCHES))
    if name != "decode":
        return f"{data}, the first {len(x)}", x
    z = np.asarray(jax.jit(part(weights, "encode")[0])(jnp.asarray(x)))
    if z.shape[1:] == given.shape[1:]:
        return f"latents of {data}, the first {len(x)}", np.asarray(z, np.float32)
    shape = (max(BATCHES), *given.shape[1:])
    return "normal noise", np.random.default_rng(0).standard_normal(shape, np.float32)


def units(weights: Weights, name: Name) -> str:
    """Returns what the numbers are that a part reads, in words."""
    if name == "decode":
        return "latents, as encode gives them"
    facts = weights.facts
    if facts is not None and facts.series is not None:
        scaling = facts.series["scaling"]["kind"]
        return (
            f"windows of {facts.series['window']} points of the series, channels "
            f"{', '.join(facts.series['channels'])}, scaled as the run scaled them ({scaling})"
        )
    if facts is not None and facts.dtype != "uint8":
        return "samples in the units of the data that the model was trained on"
    return "samples in floats; of images as bytes, each value divided by 255"
