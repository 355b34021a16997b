"""`msae train`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from msae_jax.cli.app import Data, DataDir, app
from msae_jax.errors import InputError

if TYPE_CHECKING:
    from msae_jax.config import TrainConfig
    from msae_jax.seeds import Member


@app.command()
def train(
    model: Annotated[
        str | None, typer.Option(help="A name, or package.module:Class. [msae]")
    ] = None,
    data: Data = None,
    data_dir: DataDir = None,
    out: Annotated[Path | None, typer.Option(help="Run directory. [runs/MODEL-DATA-SEED]")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    seed: Annotated[int | None, typer.Option(help="Of weights, order and noise. [0]")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="How many, from --seed on.")] = None,
    vary: Annotated[
        str | None, typer.Option(help="What seeds decide, one at a time: init,order,noise,all.")
    ] = None,
    sweep: Annotated[
        list[str] | None, typer.Option(help="FIELD=V1,V2,...: a grid, times the seeds.")
    ] = None,
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
    seeds_at_once: Annotated[
        int | None, typer.Option(min=1, help="Seeds in one batch on a device. [measured]")
    ] = None,
    data_devices: Annotated[int, typer.Option(min=1, help="Devices that share a batch.")] = 1,
    host_devices: Annotated[
        int | None, typer.Option(min=1, help="CPU devices, for many seeds. [cores]")
    ] = None,
    coordinator: Annotated[
        str | None, typer.Option(help="HOST:PORT of process 0, of several.")
    ] = None,
    num_processes: Annotated[int | None, typer.Option(min=1)] = None,
    process_id: Annotated[int | None, typer.Option(min=0)] = None,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Processes as SLURM, MPI or Kubernetes has them.")
    ] = False,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="FIELD=VALUE: latent_dim=32, optimizer.momentum=0.9, ..."),
    ] = None,
) -> None:
    """Train a model; what is not given follows the model's published recipe."""
    from msae_jax import config, distributed, recipes, run_directory

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
    many = bool(seeds or vary or sweep or data_devices > 1 or coordinator or cluster)
    if out is not None and resume and not many:
        many = run_directory.read_members(out) is not None
    if not many and (seeds_at_once or host_devices):
        raise InputError("--seeds-at-once and --host-devices need --seeds.")
    if many:
        distributed.use_host_devices(host_devices)
    if coordinator is not None or cluster or num_processes or process_id is not None:
        if coordinator is None and not cluster:
            raise InputError("--num-processes and --process-id need --coordinator HOST:PORT.")
        distributed.initialize(coordinator, num_processes, process_id)
    if resume and out is None:
        raise InputError("--resume needs --out: the run directory to go on with.")
    saved = out is not None and resume and (out / "config.json").exists()
    if resume and out is not None and model is None and not saved and not sweep:
        raise InputError(f"{out} holds no run to resume: give its directory, or say --model.")
    if saved and out is not None:
        base = run_directory.read_config(out)
        changes |= {} if model is None else {"model.name": model}
    else:
        base = recipes.recipe(model or "msae")
    settings = config.override(base, changes)
    name = f"{settings.model.name}-{Path(settings.data).stem}"
    name = name.replace(":", ".")  # package.module:Class, tfds:NAME: not every system takes a colon
    how = {"seeds_at_once": seeds_at_once, "data_devices": data_devices}
    if sweep:
        if vary:
            raise InputError("--vary and --sweep do not go together.")
        _sweep(
            settings, sweep, seeds or 1, out or Path("runs", f"{name}-sweep"), resume, data_dir, how
        )
    elif many:
        members = _members(settings, seeds, vary, out if saved else None)
        _many(settings, members, out or Path("runs", f"{name}-seeds"), resume, data_dir, how)
    else:
        _one(settings, out or Path("runs", f"{name}-{settings.seed}"), resume, data_dir)


def _one(settings: TrainConfig, out: Path, resume: bool, data_dir: Path | None) -> None:
    from msae_jax import progress, run

    label = f"{settings.model.name} seed {settings.seed}"
    with progress.progress_bar(settings.epochs, label) as bar:
        done = run.fit(settings, out=out, resume=resume, data_dir=data_dir, on_epoch=bar)
    _warn(done.messages)
    last = done.history[-1]
    print(
        f"{settings.model.name} on {settings.data}, epoch {last['epoch']}: "
        f"test MSE {last['test_mse']:.6g} per value, {last['test_nats']:.6g} nats per sample "
        f"(seed {settings.seed}; one seed is not a result)"
    )
    print(out)


def _members(
    settings: TrainConfig, seeds: int | None, vary: str | None, saved: Path | None
) -> list[Member]:
    from dataclasses import replace

    from msae_jax import run_directory
    from msae_jax.ensemble import as_members

    if saved is not None and seeds is None and vary is None:
        return run_directory.read_members(saved) or []
    listed = as_members(settings, seeds or 1)
    if vary is None:
        return listed
    sources = vary.split(",")
    return as_members(settings, [replace(m, vary=source) for source in sources for m in listed])


def _many(
    settings: TrainConfig,
    members: list[Member],
    out: Path,
    resume: bool,
    data_dir: Path | None,
    how: dict[str, Any],
) -> None:
    from msae_jax import distributed, progress, report, tables
    from msae_jax.ensemble import fit_many

    label = f"{settings.model.name}, {len(members)} seeds"
    with progress.progress_bar(settings.epochs, label) as bar:
        done = fit_many(
            settings, members, out=out, resume=resume, data_dir=data_dir, on_epoch=bar, **how
        )
    if distributed.is_main():
        tables.write(out / "table", done.rows())
        _warn(done.messages)
        print(report.of_ensemble(done))
        print(out)


def _sweep(
    settings: TrainConfig,
    texts: list[str],
    seeds: int,
    out: Path,
    resume: bool,
    data_dir: Path | None,
    how: dict[str, Any],
) -> None:
    import contextlib

    from msae_jax import distributed, progress, report, sweep

    axes = sweep.parse_axes(texts)
    with contextlib.ExitStack() as stack:

        def begin(group: sweep.Group) -> Any:
            stack.close()
            label = f"{settings.model.name} {group.name}, {len(group.members)} runs"
            return stack.enter_context(progress.progress_bar(group.settings.epochs, label))

        rows = sweep.run(
            settings, axes, seeds, out=out, resume=resume, data_dir=data_dir, on_group=begin, **how
        )
    if distributed.is_main():
        print(report.of_sweep(rows, list(sweep.full_names(axes))))
        print(out / "table.csv")


def _warn(messages: list[str]) -> None:
    for message in messages:
        print(f"msae: warning: {message}", file=sys.stderr)
