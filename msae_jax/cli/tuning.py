"""`msae tune`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from msae_jax.cli.app import DataDir, app
from msae_jax.cli.reading import reads
from msae_jax.cli.settings import TRAINING, with_settings
from msae_jax.cli.tools import ConfigFile
from msae_jax.errors import InputError

if TYPE_CHECKING:
    from msae_jax.config import TrainConfig
    from msae_jax.data import Dataset
    from msae_jax.fitting.tuning import Asked, Study, Trial

Model = Annotated[str | None, typer.Option(help="A name, package.module:Class, or a .pt2. [msae]")]
Search = Annotated[
    list[str] | None,
    typer.Option(help="FIELD=LOW:HIGH, FIELD=log:LOW:HIGH, or FIELD=V1,V2,... to choose from."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the study in --out.")]
Fresh = Annotated[
    int, typer.Option("--fresh-seeds", min=2, help="On which tuned and default are compared.")
]


@app.command()
@reads("data")
@with_settings(TRAINING)
def tune(
    *,
    changes: dict[str, Any],
    search: Search = None,
    model: Model = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    out: Annotated[Path, typer.Option(help="For the study and the runs.")] = Path("runs/tune"),
    resume: Resume = False,
    trials: Annotated[int, typer.Option(min=1, help="How many, with those that are done.")] = 20,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Of each trial, from --seed on. [3]")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="To choose and to compare by; lower is better. [test_mse]")
    ] = None,
    validation: Annotated[
        float | None, typer.Option(help="Share of the training part to choose by. [0.2]")
    ] = None,
    fresh_seeds: Fresh = 8,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="FIELD=VALUE, the same in all trials.")
    ] = None,
) -> None:
    """Choose hyper-parameters on the mean over seeds, then compare them with the default.

    Trials are judged by a validation part, held out of the training part. The comparison is on the
    test part, over seeds that no trial used. `msae tune --resume --out DIR` goes on with a study.
    """
    from msae_jax import config as c
    from msae_jax import data as d
    from msae_jax.data.held_out import held_out
    from msae_jax.fitting import tuning
    from msae_jax.runs import directory
    from msae_jax.system import distributed

    distributed.use_host_devices()
    changes |= dict(c.parse_assignment(text) for text in assignments or [])
    begun = (out / tuning.FILE).exists()
    if out.exists() and any(out.iterdir()) and not (resume and begun):
        raise InputError(f"{out} is not empty: choose another --out, or --resume its study.")
    axes = tuning.parse_search(search or []) if search or not begun else None
    given = {"axes": axes, "metric": metric, "validation": validation}
    with directory.writing(out):
        study = tuning.Study(out) if begun else None
        told = None if study is None else study.told()
        asked = _asked(told, model, changes, config, seeds, given)
        streaming = asked.settings.pipeline == "streaming"
        whole = d.load(asked.settings.data, data_dir=data_dir, streaming=streaming)
        dataset = held_out(whole, asked.validation)
        tuning.check(asked, dataset)
        study = study or tuning.Study(out)
        study.tell(asked)
        best = _chosen(study, asked, dataset, trials)
        print(_verdict(asked, best, list(_fresh(asked, fresh_seeds)), out, data_dir))


def _asked(
    told: dict[str, Any] | None,
    model: str | None,
    changes: dict[str, Any],
    file: Path | None,
    seeds: int | None,
    given: dict[str, Any],
) -> Asked:
    """Returns what is asked for; what is not given is as the study in --out has it, if there is
    one."""
    from msae_jax import config
    from msae_jax.cli.training import configured
    from msae_jax.fitting import tuning
    from msae_jax.runs import directory

    if told is None or model is not None or file is not None:
        settings = configured(model, changes, None, file)
    else:
        given_names = [changes.get("data"), changes.get("objective.likelihood")]
        saved = directory.opened_config(told["settings"], given_names)
        settings = config.override(saved, changes)
        directory.check_named(settings)
    start = tuning.Asked(settings, {}, list(range(settings.seed, settings.seed + (seeds or 3))))
    if told is not None:
        before = tuning.Asked.from_dict(told, settings)
        start = before if seeds is None else before._replace(seeds=start.seeds)
    return start._replace(**{name: value for name, value in given.items() if value is not None})


def _chosen(study: Study, asked: Asked, dataset: Dataset, trials: int) -> Trial:
    """Goes on with the study, shows its trials, and returns the best one."""
    import contextlib

    from msae_jax.config import METRICS
    from msae_jax.fitting import tuning
    from msae_jax.system.progress import progress_bar

    words = f"validation {METRICS[asked.metric].words}"
    with contextlib.ExitStack() as stack:

        def begin() -> Any:
            stack.close()
            label = f"trial {len(study.finished(asked.axes)) + 1} of {trials}"
            return stack.enter_context(progress_bar(asked.settings.epochs, label))

        def end(trial: Trial, best: Trial) -> None:
            stack.close()
            value = (
                f"{words} {trial.value:.5g}"
                if math.isfinite(trial.value)
                else "a seed diverged, or the values were refused"
            )
            known = f"; best {best.value:.5g} (trial {best.number})"
            print(f"trial {trial.number} of {trials}: {_shown(trial.point)}: {value}{known}")

        best = study.go_on(asked, trials, tuning.mean_of(asked, dataset, begin), end)
    if not math.isfinite(best.value):
        raise InputError(
            "every trial diverged or was refused: search lower learning rates, or other values."
        )
    seeds = ", ".join(map(str, asked.seeds))
    print(f"chosen by {words} {best.value:.5g} over seeds {seeds}: {_shown(best.point)}")
    return best


def _shown(point: dict[str, Any]) -> str:
    return ", ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in point.items()
    )


def _fresh(asked: Asked, count: int) -> range:
    """Returns seeds that no trial used."""
    first = max(asked.seeds) + 1
    return range(first, first + count)


def _verdict(asked: Asked, best: Trial, seeds: list[int], out: Path, data_dir: Path | None) -> str:
    """Trains the chosen configuration and the default on all training data, and compares them."""
    from msae_jax import config
    from msae_jax.cli.verdicts import place, trained
    from msae_jax.results import compare as c

    tuned = config.override(asked.settings, best.point)

    def side(settings: TrainConfig, name: str) -> c.Side:
        found = trained(settings, name, seeds, out, data_dir).only(seeds)
        return c.side_of(found, asked.metric, name)

    verdict = c.compare(
        side(tuned, "tuned"), side(asked.settings, "default"), asked.metric, meant=list(asked.axes)
    )
    file = place(tuned, "tuned", out) / "config.json"
    return (
        f"{verdict}\nThe default has had no trials. The tuned one again: msae train --config {file}"
    )
