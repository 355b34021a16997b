"""Results that are slow to compute, one JSON file each beside the runs they belong to."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn

from msae_jax.experiments.study import Setup
from msae_jax.fitting.ensemble import Ensemble
from msae_jax.runs.arrays import digest
from msae_jax.system.files import replacing


def cached(setup: Setup, name: str, compute: Callable[[], Any], of: str = "") -> Any:
    """Returns `compute()`, JSON values, from `runs`/`name`.json where an earlier call kept it.

    A file that is damaged is computed and written again.

    Args:
      of: what it was computed from, such as a digest of weights; of anything else it is not used.
    """
    path = setup.runs / f"{name}.json"
    if path.exists() and not setup.fresh:
        with contextlib.suppress(ValueError, RecursionError, LookupError, TypeError):
            kept = json.loads(path.read_text(encoding="utf-8"))
            whole = "sha256" not in kept or kept["sha256"] == _digest(kept["of"], kept["found"])
            if whole and kept["of"] == of:
                return kept["found"]
    found = compute()
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"of": of, "found": found, "sha256": _digest(of, found)}
    with replacing(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(content) + "\n")
    return found


def _digest(of: str, found: Any) -> str:
    return hashlib.sha256(json.dumps([of, found], sort_keys=True).encode()).hexdigest()


Measure = Callable[[nn.Module, Mapping[str, Any], int], dict[str, Any]]
"""From a model, its variables and its seed, JSON values."""


def per_seed(
    setup: Setup, name: str, done: Ensemble, measure: Measure, settings: str = ""
) -> dict[int, Any]:
    """Returns, by seed, what `measure` finds in the models of a run that did not diverge.

    The files lie in the run's own directory, and go where it goes.

    Args:
      settings: of the measure, where it has any; of others what is kept is not used.
    """
    found = {}
    for i, member in enumerate(done.members):
        if i not in done.diverged:

            def compute(i: int = i, seed: int = member.seed) -> Any:
                return measure(done.model, done.variables(i), seed)

            path = f"{name}/measured/seed-{member.seed}"
            of = f"{digest(done.variables(i))} {settings}".strip()
            found[member.seed] = cached(setup, path, compute, of)
    return found
