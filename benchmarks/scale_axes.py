"""What `scale.py` makes grow, and the sentences that it concludes with."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.growth import Growth, fixed_and_unit

STEPS = 50  # of an epoch, where samples are not the axis
SHARED = 16  # seeds, that devices share


@dataclass(frozen=True)
class Axis:
    """What grows, and by how much.

    Attributes:
      label: of the figure's axis, with the unit. per: what a unit is, in words.
      ideal: the slope of linear growth; -1 where the same work is shared by more.
      fixed: what the part of the time is that does not grow.
    """

    name: str
    label: str
    per: str
    sizes: Sequence[int]
    quick: Sequence[int]
    fixed: str = ""
    ideal: float = 1.0


AXES = (
    Axis(
        "samples",
        "samples in an epoch",
        "sample",
        [256, 1024, 4096, 16384, 65536],
        [256, 1024, 4096],
        "what an epoch costs beside its samples: the call of its program and the copy of its state",
    ),
    Axis(
        "batch",
        f"batch size (samples), {STEPS} steps",
        "sample of a batch",
        [4, 16, 64, 256, 1024, 2048],
        [4, 32, 256],
        "what a step costs beside its samples: Adam's pass over all parameters, and the beginning "
        "of some hundred operations",
    ),
    Axis(
        "latent",
        f"latent size (values), {STEPS} steps",
        "latent value",
        [8, 32, 128, 512, 2048, 8192],
        [8, 128, 1024],
        "the layers that do not touch the latent",
    ),
    Axis(
        "seeds",
        f"seeds on one device, {STEPS} steps",
        "seed",
        [1, 4, 16, 32],
        [1, 4],
        "what a round costs beside its seeds",
    ),
    Axis("devices", f"host devices, {SHARED} seeds", "device", [1, 2, 4], [1, 2], ideal=-1.0),
)


def sentence(axis: Axis, model: str, found: Growth, points: Sequence[dict[str, Any]]) -> str:
    """Says how time grows along an axis, where it is not linear, and why."""
    sizes = [point["size"] for point in points]
    if found.linear == (sizes[0], sizes[-1]):
        where = f"linear from {sizes[0]:,} to {sizes[-1]:,}"
    elif found.linear is None:
        where = f"not linear between any two of {sizes[0]:,} to {sizes[-1]:,}"
    else:
        where = "linear from {:,} to {:,} only".format(*found.linear)
    text = f"{axis.name}, {model}: slope {found.slope:.2f}, {where}."
    if axis.name == "devices":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        busy = ", ".join(f"{p['size']} keep {statistics.median(p['cores']):.1f}" for p in points)
        return f"{text} Cores: {cores}; devices: {busy} of them busy."
    text += f" {found.unit:.3g} s per {axis.per}"
    if found.half > sizes[0]:
        text += f"; {found.fixed:.3g} s are fixed, half of the time at {found.half:,.0f}"
        text += f": {axis.fixed}"
    if axis.name == "latent":
        fixed, unit = fixed_and_unit(sizes, [point["operations"] for point in points])
        text += f" (of the operations, half at {fixed / unit:,.0f})"
    rates = [p["operations"] / min(p["seconds"]) / 1e9 for p in points]
    best = int(np.argmax(rates))
    text += (
        f". {rates[0]:.3g} GFLOP/s at {sizes[0]:,}, at most {rates[best]:.3g} at {sizes[best]:,}"
    )
    if rates[-1] < 0.85 * rates[best]:
        text += f", {rates[-1]:.3g} at {sizes[-1]:,}"
    return f"{text}. {adam(points[-1])}"


def adam(point: dict[str, Any]) -> str:
    """Says how much of the time Adam's pass over the memory takes, by the bandwidth measured."""
    from msae_jax.bench import peaks

    moved = 4 * 7 * point["parameters"] * point["steps"]  # reads g, p, m, v; writes p, m, v
    seconds = moved / 1e9 / peaks().bandwidth(4 * 4 * point["parameters"])
    share = seconds / min(point["seconds"])
    at = f"At {point['size']:,}"
    text = f"{at} Adam moves {moved / 1e6:,.0f} MB"
    if share > 1:  # than the memory can
        return f"{text}, from caches: memory would take {share:.1f} times as long as all took."
    return f"{text}: {share:.0%} of the time, from memory."
