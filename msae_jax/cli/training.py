"""`msae train`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from msae_jax.cli.app import DataDir, app, note_assumptions
from msae_jax.cli.reading import reads
from msae_jax.cli.settings import TRAINING, with_settings
from msae_jax.cli.tools import Tools, with_tools
from msae_jax.errors import InputError, printable

if TYPE_CHECKING:
    from msae_jax.config import TrainConfig
    from msae_jax.train.seeds import Member


Vary = Annotated[
    str | None, typer.Option(help="What seeds decide, one at a time: init,order,noise,all.")
]
NumProcesses = Annotated[int | None, typer.Option(min=1, help="How many processes train together.")]
ProcessId = Annotated[int | None, typer.Option(min=0, help="Which of them this is, from 0 on.")]
Cluster = Annotated[
    bool, typer.Option("--cluster", help="Processes as SLURM, MPI or Kubernetes has them.")
]


@app.command()
@reads("data")
@with_tools
@with_settings(TRAINING)
def train(
    *,
    changes: dict[str, Any],
    tools: Tools,
    model: Annotated[
        str | None, typer.Option(help="A name, package.module:Class, or a .pt2. [msae]")
    ] = None,
    data_dir: DataDir = None,
    out: Annotated[Path | None, typer.Option(help="Run directory. [runs/MODEL-DATA-SEED]")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    seeds: Annotated[int | None, typer.Option(min=1, help="How many, from --seed on.")] = None,
    vary: Vary = None,
    sweep: Annotated[
        list[str] | None, typer.Option(help="FIELD=V1,V2,...: a grid, times the seeds.")
    ] = None,
    seeds_at_once: Annotated[
        int | None, typer.Option(min=1, help="Seeds in one batch on a device. [CPU: 1, else all]")
    ] = None,
    data_devices: Annotated[int, typer.Option(min=1, help="Devices that share a batch.")] = 1,
    host_devices: Annotated[
        int | None, typer.Option(min=1, help="CPU devices, for many seeds. [cores]")
    ] = None,
    coordinator: Annotated[str | None, typer.Option(help="HOST:PORT of process 0.")] = None,
    num_processes: NumProcesses = None,
    process_id: ProcessId = None,
    cluster: Cluster = False,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="FIELD=VALUE: latent_dim=32, optimizer.momentum=0.9, ..."),
    ] = None,
) -> None:
    """Train a model; what is not given follows the model's published recipe."""
    from msae_jax import config
    from msae_jax.runs import checkpoint

    changes |= dict(config.parse_assignment(text) for text in assignments or [])
    if vary and sweep:
        raise InputError("--vary and --sweep do not go together.")
    if resume and out is None:
        raise InputError("--resume needs --out: the run directory to go on with.")
    saved = out if out is not None and resume and checkpoint.holds_run(out) else None
    source = saved or _run_of(tools, changes)
    many = bool(seeds or vary or sweep or data_devices > 1 or coordinator or cluster)
    many = many or (source is not None and len(checkpoint.read_members(source)) > 1)
    if not many and (seeds_at_once or host_devices):
        raise InputError("--seeds-at-once and --host-devices need --seeds.")
    _join(many, host_devices, coordinator, num_processes, process_id, cluster)
    if resume and not (model or saved or tools.config or sweep):
        raise InputError(f"{out} holds no run to resume: give its directory, or say --model.")
    settings = configured(model, changes, saved, tools.config)
    tools.note()
    _note(settings)
    how = out or _place(settings, bool(sweep), many), resume, data_dir, tools
    devices = {"seeds_at_once": seeds_at_once, "data_devices": data_devices}
    if sweep:
        _sweep(settings, sweep, seeds or 1, *how, devices)
    elif many:
        _many(settings, _members(settings, seeds, vary, source), *how, devices)
    else:
        _one(settings, *how)


def _place(settings: TrainConfig, sweep: bool, many: bool) -> Path:
    """Returns the run directory where none is given."""
    name = f"{_shown(settings)}-{Path(settings.data.partition('?')[0]).stem}"
    name = name.replace(":", ".")  # package.module:Class, tfds:NAME: not every system takes a colon
    return Path("runs", f"{name}-{'sweep' if sweep else 'seeds' if many else settings.seed}")


def _run_of(tools: Tools, changes: dict[str, Any]) -> Path | None:
    """Returns the run whose own `config.json` is given, and whose seeds are then trained."""
    from msae_jax.runs import config_file

    return None if tools.config is None or "seed" in changes else config_file.run_of(tools.config)


def _note(settings: TrainConfig) -> None:
    """Prints what PyTorch would train otherwise of a program, and what was assumed of it."""
    from msae_jax.system.names import is_program

    if is_program(settings.model.name):
        from msae_jax import models
        from msae_jax.interop import programs

        for sentence in programs.remarks(models.build(settings.model)):
            print(f"msae: note: {printable(f'{_shown(settings)}: {sentence}')}", file=sys.stderr)


def _shown(settings: TrainConfig) -> str:
    """Returns the model's name, of a program that of its file."""
    from msae_jax.system.names import is_program

    name = settings.model.name
    return Path(name).name if is_program(name) else name


def _join(
    many: bool,
    host_devices: int | None,
    coordinator: str | None,
    num_processes: int | None,
    process_id: int | None,
    cluster: bool,
) -> None:
    """Sets up the devices of this process, and joins it to the others where there are any."""
    from msae_jax.system import distributed

    if many:
        distributed.use_host_devices(host_devices)
    if coordinator is not None or cluster or num_processes or process_id is not None:
        if coordinator is None and not cluster:
            raise InputError("--num-processes and --process-id need --coordinator HOST:PORT.")
        distributed.initialize(coordinator, num_processes, process_id)


def configured(
    model: str | None,
    changes: dict[str, Any],
    saved: Path | None = None,
    file: Path | None = None,
) -> TrainConfig:
    """Returns a configuration, with changes: of a file, of the run in `saved`, of the weights that
    training begins with, or of a recipe."""
    from msae_jax import config, recipes
    from msae_jax.runs import checkpoint, config_file, directory

    run = saved if file is None else config_file.run_of(file)
    if run is not None:
        changes = changes | ({} if model is None else {"model.name": model})
        settings = config.override(checkpoint.read_config(run), changes)
    elif file is not None:
        settings = config_file.read(file, model, changes)
    elif "init_from" in changes:
        settings = _of_weights(changes["init_from"], model, changes)
    else:
        settings = config.override(recipes.recipe(model or "msae"), changes)
    directory.check_named(settings)
    return settings


def _of_weights(source: str, model: str | None, changes: dict[str, Any]) -> TrainConfig:
    """Returns the recipe of the model that weights are of, in its sizes, with changes.

    Prints what keys and shapes of a file do not tell.
    """
    from dataclasses import replace

    from msae_jax import config, recipes
    from msae_jax.fitting.initial import model_of

    held, loaded = model_of(source, model)
    if held.name == source:  # a program, which begins with its own weights
        changes = {name: value for name, value in changes.items() if name != "init_from"}
    settings = config.override(replace(recipes.recipe(held.name), model=held), changes)
    if loaded is not None:
        note_assumptions(Path(source), loaded, settings.model)
    return settings


def _one(
    settings: TrainConfig, out: Path, resume: bool, data_dir: Path | None, tools: Tools
) -> None:
    from msae_jax.fitting import loop

    label = f"{_shown(settings)} seed {settings.seed}"
    with tools.watching(settings, out, label, data_dir) as watch:
        done = loop.fit_one(settings, out=out, resume=resume, data_dir=data_dir, on_epoch=watch)
    _warn(done.messages)
    last = done.history[-1]
    print(
        f"{_shown(settings)} on {settings.data}, epoch {last['epoch']}: "
        f"test MSE {last['test_mse']:.6g} per value, {last['test_nats']:.6g} nats per sample "
        f"(seed {settings.seed}; one seed is not a result)"
    )
    print(out)


def _members(
    settings: TrainConfig, seeds: int | None, vary: str | None, source: Path | None
) -> list[Member]:
    from dataclasses import replace

    from msae_jax.fitting.loop import as_members
    from msae_jax.runs import checkpoint

    if source is not None and seeds is None and vary is None:
        return checkpoint.read_members(source)
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
    tools: Tools,
    how: dict[str, Any],
) -> None:
    from msae_jax.fitting.loop import fit_many
    from msae_jax.results import report
    from msae_jax.system import distributed, tables

    label = f"{_shown(settings)}, {len(members)} seeds"
    with tools.watching(settings, out, label, data_dir) as watch:
        done = fit_many(
            settings, members, out=out, resume=resume, data_dir=data_dir, on_epoch=watch, **how
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
    tools: Tools,
    how: dict[str, Any],
) -> None:
    import contextlib

    from msae_jax.fitting import sweep
    from msae_jax.results import report
    from msae_jax.system import distributed

    axes = sweep.parse_axes(texts)
    with contextlib.ExitStack() as stack:

        def begin(group: sweep.Group) -> Any:
            stack.close()
            label = f"{_shown(settings)} {group.name}, {len(group.members)} runs"
            place, name = out / group.name, f"{out.name}/{group.name}"
            watching = tools.watching(group.settings, place, label, data_dir, name)
            return stack.enter_context(watching)

        rows = sweep.run(
            settings, axes, seeds, out=out, resume=resume, data_dir=data_dir, on_group=begin, **how
        )
    if distributed.is_main():
        print(report.of_sweep(rows, list(sweep.full_names(axes))))
        print(out / "table.csv")


def _warn(messages: list[str]) -> None:
    for message in messages:
        print(f"msae: warning: {message}", file=sys.stderr)
