"""Which member of a run of many seeds is meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msae_jax.errors import InputError


def pick(
    path: str | Path, members: list[dict[str, Any]], seed: int | None, member: int | None
) -> int:
    """Returns the position of the member with that seed, or at that position.

    Args:
      path: of the run, for the errors.
      members: what sets each apart; `seed` is one entry.

    Raises:
      InputError: there is no such member, or more than one.
    """
    seeds = [entry["seed"] for entry in members]
    if member is not None:
        if not 0 <= member < len(members):
            raise InputError(f"{path} has members 0 to {len(members) - 1}, got {member}.")
        return member
    rows = [i for i, own in enumerate(seeds) if seed is None or own == seed]
    if len(rows) == 1:
        return rows[0]
    if not rows and len(seeds) == 1:
        raise InputError(f"{path} holds one model, of seed {seeds[0]}.")
    if not rows:
        raise InputError(f"{path} has no seed {seed}, but {_listed(seeds)}.")
    if seed is None:
        raise InputError(f"{path} holds {len(members)} seeds: pick one of {_listed(seeds)}.")
    raise InputError(f"{path} has seed {seed} as members {rows}: pick one of them as member.")


def _listed(seeds: list[int]) -> str:
    shown = ", ".join(map(str, seeds[:10]))
    return shown if len(seeds) <= 10 else f"{shown}, ... {seeds[-1]}"
