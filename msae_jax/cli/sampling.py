"""`msae sample`: new samples of a trained model, and how good they are."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from msae_jax.cli.app import (
    AsJson,
    Best,
    Data,
    DataDir,
    Key,
    MemberIndex,
    ModelName,
    Options,
    Overwrite,
    Seed,
    Weights,
    app,
    check_out,
    model_given,
    note_assumptions,
)
from msae_jax.cli.reading import reads
from msae_jax.cli.sampling_runs import Sampling, warn
from msae_jax.errors import InputError, unknown_name

if TYPE_CHECKING:
    import numpy as np


SUFFIXES = (".npz", ".npy", ".png")
WIDTH = 512
"""Pixels that the written picture is wide at least; each of its pixels becomes a square."""


@app.command()
@reads("data")
def sample(
    weights: Weights,
    out: Annotated[Path, typer.Option(help="The .npz, .npy or .png file to write.")],
    prior: Annotated[
        str | None,
        typer.Option(help="standard, gaussian, mixture, flow. [standard of a VAE, else gaussian]"),
    ] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="How many samples.")] = 64,
    classes: Annotated[
        str | None,
        typer.Option(help="Of a model given the class: 3, or 0,1,7, in turn. [all, in turn]"),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Print how good samples are, beside real ones.")
    ] = False,
    measured: Annotated[
        int | None, typer.Option(min=6, help="How many. [half the test samples, at most 5000]")
    ] = None,
    classifier: Annotated[
        str | None,
        typer.Option(help="mnist, fashion_mnist, cifar10: whose features. [that of the data]"),
    ] = None,
    random_seed: Annotated[int, typer.Option(min=0, help="Of the prior's fit and draws.")] = 0,
    data: Data = None,
    data_dir: DataDir = None,
    model: ModelName = None,
    options: Options = None,
    best: Best = False,
    seed: Seed = None,
    member: MemberIndex = None,
    key: Key = None,
    as_json: AsJson = False,
    overwrite: Overwrite = False,
) -> None:
    """Write new samples of a model: latents drawn from a prior, decoded.

    A prior other than standard is fitted to the latents of the training samples. An .npz holds the
    samples x, their latents z and, of a model given the class, the classes y.
    """
    _check(out, prior, measure, measured, classifier, overwrite)
    from msae_jax import weights as w

    given = model_given(model, options, weights)
    loaded = w.load_weights(weights, best=best, model=given, seed=seed, member=member, key=key)
    made = Sampling(loaded, weights, data, data_dir, classes, prior, random_seed)
    note_assumptions(weights, loaded, given)
    reference = made.reference(classifier, measured) if measure else None
    x, z, y = made.draw(max(n, reference.n if reference else 0))
    _write(out, x[:n], z[:n], None if y is None else y[:n], overwrite)
    found: dict[str, Any] = {
        "model": loaded.config.model.name, "data": made.name, "prior": made.prior.kind, "n": n,
        "random_seed": random_seed, "sample_shape": list(x.shape[1:]), "out": str(out),
    }  # fmt: skip
    if reference is not None:
        shown = x[: reference.n], None if y is None else y[: reference.n]
        found |= made.measures(reference, *shown)
    print(json.dumps(found)) if as_json else _print(found)


def _check(
    out: Path, prior: str | None, measure: bool, measured: int | None, classifier: str | None,
    overwrite: bool,
) -> None:  # fmt: skip
    """Raises InputError where something cannot be, before anything is computed."""
    from msae_jax.generation.priors import KINDS

    if prior is not None and prior not in KINDS:
        raise unknown_name("prior", prior, KINDS)
    check_out(out, SUFFIXES, overwrite)
    if not measure and (measured is not None or classifier is not None):
        raise InputError("--measured and --classifier say how to measure: they need --measure.")


def _write(out: Path, x: np.ndarray, z: np.ndarray, y: np.ndarray | None, overwrite: bool) -> None:
    """Writes samples, whole or not at all."""
    import numpy as np

    from msae_jax.system.files import replacing

    bad = int((~np.isfinite(x)).reshape(len(x), -1).any(axis=1).sum())
    if bad:
        warn(f"{bad} of {len(x)} samples are not finite")
    picture = _picture(x) if out.suffix.lower() == ".png" else None
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out, overwrite) as temporary, temporary.open("wb") as file:
        if picture is not None:
            picture.save(file, format="png")
        elif out.suffix.lower() == ".npy":
            np.save(file, x)
        elif y is None:
            np.savez(file, x=x, z=z)
        else:
            np.savez(file, x=x, z=z, y=y)


def _picture(x: np.ndarray) -> Any:
    """Returns images `[n, H, W, C]` in [0, 1] in a square, as a picture of Pillow's."""
    import numpy as np
    from PIL import Image

    from msae_jax.figures import tiled

    if x.ndim not in (3, 4) or (x.ndim == 4 and x.shape[3] not in (1, 3)):
        raise InputError(
            f"samples {list(x.shape[1:])} are no images [H, W] or [H, W, C] with C 1 or 3: write "
            "an .npz."
        )
    whole = tiled(np.clip(np.nan_to_num(x), 0, 1), math.ceil(math.sqrt(len(x))))
    large = max(1, -(-WIDTH // whole.shape[1]))
    pixels = np.round(255 * whole).astype(np.uint8).repeat(large, axis=0).repeat(large, axis=1)
    return Image.fromarray(pixels)


def _print(found: dict[str, Any]) -> None:
    print(
        f"{found['model']}, prior {found['prior']}: {found['n']} samples {found['sample_shape']}: "
        f"{found['out']}"
    )
    if "samples" not in found:
        return
    right = found["accuracy"]
    told = "" if right is None else f", which recognises {right:.2%} of these test images"
    one = found["samples"]
    print(
        f"measured in the features of the classifier of {found['classifier']}{told}; {one['n']} "
        f"against {one['n']}, k = {one['k']}"
    )
    print(f"{'':18} Fréchet distance  precision  recall  density  coverage")
    for name, row in [("samples", found["samples"]), ("real against real", found["real"])]:
        print(
            f"{name:18} {row['frechet']:16.4g}  {row['precision']:9.3f}  {row['recall']:6.3f}  "
            f"{row['density']:7.3f}  {row['coverage']:8.3f}"
        )
    if one["recognised"] is not None:
        print(f"recognised as the class asked for: {one['recognised']:.1%} of the samples")
    print(
        f"log density of the prior: {found['prior_nats']:.6g} nats per latent of {found['test']} "
        "test samples"
    )
    if "bounds" in found:
        bounds = found["bounds"]
        print(
            f"negative ELBO {bounds['negative_elbo']:.6g}, importance-weighted with k = "
            f"{bounds['k']}: {bounds['importance_weighted']:.6g} nats per sample, {bounds['n']} "
            f"test samples, {bounds['likelihood']} likelihood"
        )
