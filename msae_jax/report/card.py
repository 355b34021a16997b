"""`write` makes a folder in the form of model hubs: weights, configuration, and a model card."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from msae_jax import weights
from msae_jax.config import ModelConfig
from msae_jax.errors import InputError
from msae_jax.interop import cards, mapping
from msae_jax.report import card_text
from msae_jax.report.gather import subjects
from msae_jax.runs import checkpoint
from msae_jax.runs.picking import pick
from msae_jax.system.files import new_folder


def write(
    run: Path,
    out: Path,
    *,
    best: bool = False,
    seed: int | None = None,
    member: int | None = None,
    model: ModelConfig | None = None,
    license_id: str | None = None,
) -> None:
    """Writes the folder of one model of a run, whole or not at all.

    Args:
      run: a run directory or one of its checkpoints.
      best, seed, member, model: as `weights.load_weights` has them.
      license_id: as hubs name licenses; without one the card has a line to fill in.

    Raises:
      InputError: there is no such model, it holds values that are not finite, or `out` exists.
    """
    if out.exists():
        raise InputError(f"{out} exists already: choose another --out for the card.")
    if not run.is_dir() or cards.is_card(run):
        raise InputError(f"{run} is no run directory: a card is made of a run or a checkpoint.")
    every = checkpoint.load_all(run, best=best)
    row = pick(run, every.members, seed, member)
    one = every.one(row)
    loaded = weights.open_weights(run, best=best, member=row, model=model)
    _check_finite(run, loaded)
    (subject,) = subjects([run], [None if model is None else model.name])
    about = {
        "seed": every.members[row]["seed"],
        "member": row,
        "epoch": one.epoch,
        "history": one.history[-1:],
        "versions": one.versions,
    }
    which = f"checkpoint {every.number}"
    if best:
        which += f", that of the lowest {loaded.config.best_metric}"
    with new_folder(out) as temporary:
        cards.write(temporary, loaded, one.sample_shape, about)
        of = card_text.About(out.name, subject, every, row, loaded, which, license_id)
        (temporary / cards.README).write_text(card_text.readme(of), encoding="utf-8")


def _check_finite(run: Path, loaded: weights.Weights) -> None:
    broken = [
        "/".join(path)
        for path, leaf in mapping.leaves(loaded.variables)
        if not np.isfinite(np.asarray(leaf, np.float64)).all()
    ]
    if broken:
        raise InputError(
            f"{run} holds values that are NaN or infinite in {', '.join(broken)}: take another "
            "seed, or another checkpoint."
        )
