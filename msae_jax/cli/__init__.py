"""The command line, `msae`: parses, calls, prints. What it calls is imported when it is used."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from msae_jax.errors import DivergedError, InputError

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Autoencoders in JAX/Flax: train, evaluate, embed, reproduce published results.",
)

Weights = Annotated[
    Path, typer.Argument(help="A run directory, RUN/checkpoints/EPOCH, .pth or .safetensors.")
]
ModelName = Annotated[
    str | None, typer.Option("--model", help="Of a file, where its keys and shapes do not tell.")
]
Data = Annotated[str | None, typer.Option(help="Data set (see `msae list`) or .npy/.npz/.csv.")]
DataDir = Annotated[Path | None, typer.Option(help="IDX files, to prepare MNIST from.")]
SplitName = Annotated[str, typer.Option("--split", help="train or test.")]
Options = Annotated[
    list[str] | None,
    typer.Option("--set", help="FIELD=VALUE of the model, where the shapes do not tell."),
]
Best = Annotated[bool, typer.Option(help="The best checkpoint of a run instead of the latest.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Input = Annotated[Path, typer.Option("--input", help="Samples, one a row: .npy, .npz or .csv.")]
OutFile = Annotated[Path, typer.Option("--out", help="The .npy file to write.")]
Overwrite = Annotated[bool, typer.Option(help="Replace --out where it exists.")]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List models with their parameter counts, data sets and studies."""
    from msae_jax import data, experiments, models
    from msae_jax.config import ModelConfig

    counts = {n: models.parameter_count(models.build(ModelConfig(n))) for n in models.names()}
    if as_json:
        found = {
            "models": [{"name": n, "parameters": count} for n, count in counts.items()],
            "data": [{"name": n, "description": text} for n, text in data.names().items()],
            "studies": [{"name": n, "description": text} for n, text in experiments.NAMES.items()],
        }
        print(json.dumps(found, indent=2))
        return
    print("models (trainable parameters)")
    print("\n".join(f"  {name:14} {count:>11,}" for name, count in counts.items()))
    print("data sets")
    print("\n".join(f"  {name:14} {text}" for name, text in data.names().items()))
    print("studies, for `msae reproduce`")
    print("\n".join(f"  {name:14} {text}" for name, text in experiments.NAMES.items()))


@app.command()
def train(
    model: Annotated[str | None, typer.Option(help="A name, or package.module:Class.")] = None,
    data: Data = None,
    data_dir: DataDir = None,
    out: Annotated[Path | None, typer.Option(help="Run directory. [runs/MODEL-DATA-SEED]")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    seed: Annotated[int | None, typer.Option(help="Of weights, order and noise. [0]")] = None,
    epochs: Annotated[int | None, typer.Option()] = None,
    batch_size: Annotated[int | None, typer.Option()] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", "--lr")] = None,
    optimizer: Annotated[str | None, typer.Option(help="adam, adamw, sgd, rmsprop, lion.")] = None,
    schedule: Annotated[str | None, typer.Option(help="constant, cosine, linear.")] = None,
    clip_norm: Annotated[float | None, typer.Option(help="Bound of the gradient norm.")] = None,
    likelihood: Annotated[str | None, typer.Option(help="gaussian (MSE), bernoulli (BCE).")] = None,
    reduction: Annotated[str | None, typer.Option(help="mean, batchmean, sum.")] = None,
    beta: Annotated[float | None, typer.Option(help="Weight of the KL term.")] = None,
    patience: Annotated[int | None, typer.Option(help="Epochs; stops early.")] = None,
    stop_metric: Annotated[str | None, typer.Option(help="For --patience. [test_loss]")] = None,
    init: Annotated[str | None, typer.Option(help="Initial weights: torch or flax.")] = None,
    pipeline: Annotated[str | None, typer.Option(help="resident or streaming.")] = None,
    checkpoint_every: Annotated[int | None, typer.Option(help="Epochs. [1]")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="FIELD=VALUE: latent_dim=32, optimizer.momentum=0.9, ..."),
    ] = None,
) -> None:
    """Train a model; what is not given follows the model's published recipe."""
    from msae_jax import config, progress, recipes, run

    given = {
        "data": data,
        "seed": seed,
        "epochs": epochs,
        "batch_size": batch_size,
        "optimizer.learning_rate": learning_rate,
        "optimizer.name": optimizer,
        "optimizer.schedule": schedule,
        "optimizer.clip_norm": clip_norm,
        "objective.likelihood": likelihood,
        "objective.reduction": reduction,
        "objective.beta": beta,
        "early_stopping.patience": patience,
        "early_stopping.metric": stop_metric,
        "model.init_scheme": init,
        "pipeline": pipeline,
        "checkpoint_every": checkpoint_every,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    changes |= dict(config.parse_assignment(text) for text in assignments or [])
    if resume and out is None:
        raise InputError("--resume needs --out: the run directory to go on with.")
    if resume and out is not None and model is None and not (out / "config.json").exists():
        raise InputError(f"{out} holds no run to resume: give its directory, or say --model.")
    if resume and out is not None and (out / "config.json").exists():
        base = run.read_config(out)
        changes |= {} if model is None else {"model.name": model}
    else:
        base = recipes.recipe(model or "msae")
    settings = config.override(base, changes)
    if out is None:
        out = Path("runs", f"{settings.model.name}-{Path(settings.data).stem}-{settings.seed}")
    label = f"{settings.model.name} seed {settings.seed}"
    with progress.progress_bar(settings.epochs, label) as bar:
        done = run.fit(settings, out=out, resume=resume, data_dir=data_dir, on_epoch=bar)
    for message in done.messages:
        print(f"msae: warning: {message}", file=sys.stderr)
    last = done.history[-1]
    print(
        f"{settings.model.name} on {settings.data}, epoch {last['epoch']}: "
        f"test MSE {last['test_mse']:.6g} per pixel, {last['test_nats']:.6g} nats per sample "
        f"(seed {settings.seed}; one seed is not a result)"
    )
    print(out)


@app.command()
def evaluate(
    weights: Weights,
    data: Data = None,
    data_dir: DataDir = None,
    split: SplitName = "test",
    model: ModelName = None,
    best: Best = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate weights on a data set: MSE per pixel, nats per sample."""
    from msae_jax import inference
    from msae_jax import weights as w

    loaded = w.load_weights(weights, best=best, model=model)
    name = data or loaded.config.data
    samples = w.split(name, split, data_dir)
    found: dict[str, Any] = dict(
        inference.evaluate(loaded.model, loaded.variables, samples, loaded.config.objective)
    )
    found |= {"model": loaded.config.model.name, "data": name, "split": split}
    if as_json:
        print(json.dumps(found))
        return
    print(
        f"{found['model']} on {name} {split}, {found['n']} samples: MSE {found['mse']:.6g} per "
        f"pixel, {found['nats']:.6g} nats per sample (reconstruction {found['recon_nats']:.6g}, "
        f"KL {found['kl_nats']:.6g})"
    )


@app.command()
def embed(
    weights: Weights,
    samples: Input,
    out: OutFile,
    model: ModelName = None,
    best: Best = False,
    overwrite: Overwrite = False,
) -> None:
    """Write the latents [N, latent_dim] of your samples; of a VAE, the posterior means."""
    from msae_jax import inference
    from msae_jax import weights as w

    loaded = w.load_weights(weights, best=best, model=model)
    x = w.samples(samples, out, overwrite)
    w.save_array(out, inference.embed(loaded.model, loaded.variables, x))


@app.command()
def reconstruct(
    weights: Weights,
    samples: Input,
    out: OutFile,
    model: ModelName = None,
    best: Best = False,
    overwrite: Overwrite = False,
) -> None:
    """Write the reconstructions [N, ...] of your samples; uint8 ones are scaled to [0, 1]."""
    from msae_jax import inference
    from msae_jax import weights as w

    loaded = w.load_weights(weights, best=best, model=model)
    x = w.samples(samples, out, overwrite)
    w.save_array(out, inference.reconstruct(loaded.model, loaded.variables, x))


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="Run directory, checkpoint, .pth, .safetensors.")],
    target: Annotated[Path, typer.Argument(help=".pth, .safetensors, or a new run directory.")],
    model: ModelName = None,
    options: Options = None,
    best: Best = False,
    overwrite: Annotated[bool, typer.Option(help="Replace TARGET where it is a file.")] = False,
) -> None:
    """Convert weights between PyTorch's files and run directories, bit for bit."""
    from msae_jax.interop import convert as c

    given = c.model_config(model, options or [])
    done = c.convert(source, target, given, best=best, overwrite=overwrite)
    sizes = ", ".join(f"{k}={v}" for k, v in done.config.model.options.items()) or "default sizes"
    print(f"{done.config.model.name} ({sizes})")
    print(target)


@app.command()
def verify(
    weights: Annotated[Path, typer.Argument(help="A .pth or .safetensors file.")],
    model: ModelName = None,
    options: Options = None,
    data: Data = None,
    data_dir: DataDir = None,
    out: Annotated[Path | None, typer.Option("--json", help="Write the certificate here.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace --json where it exists.")] = False,
) -> None:
    """Compare JAX with PyTorch on a file of weights, layer by layer; exit status 1 if they differ.

    Without PyTorch installed: keys, shapes, the round trip, recorded figures.
    """
    from msae_jax.interop import convert as c
    from msae_jax.interop import verify as v

    given = c.model_config(model, options or [])
    certificate = v.verify(
        weights, given, data_name=data, data_dir=data_dir, out=out, overwrite=overwrite
    )
    print(certificate)
    if not certificate.passed:
        raise typer.Exit(1)


@app.command()
def replay(
    study: Annotated[str, typer.Argument(help="sines.")],
    as_json: AsJson = False,
) -> None:
    """Train from PyTorch's recorded initial weights and batches, beside the published curves."""
    from msae_jax.experiments import replay as r

    found = r.replay(study)
    print(json.dumps(found.to_dict(), indent=2) if as_json else found)


@app.command()
def reproduce(
    names: Annotated[list[str], typer.Argument(help="Studies; see `msae list`.")],
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of each model.")] = 8,
    out: Annotated[Path | None, typer.Option(help="For results. [figures/STUDY]")] = None,
    runs: Annotated[Path, typer.Option(help="For the runs; finished ones are used again.")] = Path(
        "runs"
    ),
    fresh: Annotated[bool, typer.Option("--fresh", help="Train again what is in --runs.")] = False,
) -> None:
    """Run published studies over many seeds: table, results.json, figures."""
    from msae_jax import experiments

    studies = [(name, experiments.find(name)) for name in names]
    for name, study in studies:
        target = Path("figures", name) if out is None else out / name if len(names) > 1 else out
        study.reproduce(seeds=seeds, out=target, runs=runs / name, fresh=fresh)


def main() -> int:
    """Runs the command line; errors of the user's are one line, exit status 2."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax and TFDS narrate
    try:
        return typer.main.get_command(app).main(prog_name="msae", standalone_mode=False) or 0
    except TyperException as error:
        return _fail(error.format_message() or "see msae --help", 2)
    except InputError as error:
        return _fail(str(error), 2)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}", 2)
    except DivergedError as error:
        return _fail(str(error), 1)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted; train --resume goes on where the last checkpoint is", 130)


def _fail(message: str, status: int) -> int:
    print(f"msae: error: {' '.join(message.split())}", file=sys.stderr)
    return status
