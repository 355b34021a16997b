"""`msae find-lr`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from msae_jax.cli.app import AsJson, DataDir, Overwrite, app, check_out
from msae_jax.cli.reading import reads
from msae_jax.cli.settings import TRAINING, with_settings

_ELSEWHERE = (
    "epochs", "optimizer.learning_rate", "optimizer.schedule", "optimizer.ema", "pipeline",
    "early_stopping.patience", "early_stopping.metric", "checkpoint_every", "best_metric",
)  # fmt: skip
"""Settings of training that a range test has no use for."""
SETTINGS = tuple(setting for setting in TRAINING if setting.field not in _ELSEWHERE)


@app.command("find-lr")
@reads("data")
@with_settings(SETTINGS)
def find_lr(
    *,
    changes: dict[str, Any],
    out: Annotated[Path, typer.Option(help="The figure to write: .png or .svg.")],
    model: Annotated[
        str | None, typer.Option(help="A name, package.module:Class, or a .pt2. [msae]")
    ] = None,
    data_dir: DataDir = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many, from --seed on.")] = 4,
    steps: Annotated[int, typer.Option(min=20, help="Of each seed.")] = 200,
    low: Annotated[float, typer.Option(help="Learning rate of the first step.")] = 1e-6,
    high: Annotated[float, typer.Option(help="Of the last one.")] = 10.0,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="FIELD=VALUE: latent_dim=32, ...")
    ] = None,
    as_json: AsJson = False,
    overwrite: Overwrite = False,
) -> None:
    """Suggest a learning rate by a range test over seeds, and draw it (Smith 2017).

    Each seed trains a few steps while the learning rate grows; a tenth of the rate at which its
    loss is lowest is suggested. Nothing is kept of what is trained.
    """
    from msae_jax import config
    from msae_jax.cli.training import configured
    from msae_jax.figures.rates import range_test_curves
    from msae_jax.fitting.range_test import range_test
    from msae_jax.system.files import replacing

    check_out(out, (".png", ".svg"), overwrite)
    changes |= dict(config.parse_assignment(text) for text in assignments or [])
    settings = configured(model, changes)
    found = range_test(settings, seeds=seeds, steps=steps, low=low, high=high, data_dir=data_dir)
    each, what = found.suggestions, f"{settings.model.name} on {settings.data}"
    title = f"{what}: {settings.optimizer.name}, batches of {settings.batch_size}"
    figure = range_test_curves(
        found.rates, found.losses, found.smoothed, each, found.suggested, title=title
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out, overwrite=True) as temporary:
        figure.savefig(temporary, format=out.suffix[1:].lower(), dpi=100)
    if found.still_falls:
        print(
            f"msae: warning: the loss of seeds {found.still_falls} still falls at {high:g}: a "
            "larger --high, or more --steps, may find a higher rate.",
            file=sys.stderr,
        )
    if as_json:
        by_seed = dict(zip(map(str, found.seeds), map(float, each), strict=True))
        print(json.dumps({"suggested": found.suggested, "seeds": by_seed, "figure": str(out)}))
        return
    print(
        f"{what}: suggested learning rate {found.suggested:g} (geometric mean of {len(each)} "
        f"seeds, {each.min():.2g} to {each.max():.2g})"
    )
    print(out)
