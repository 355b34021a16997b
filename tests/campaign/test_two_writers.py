"""50 pairs of processes that are started together on one run directory: one is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.campaign import processes as p

pytestmark = pytest.mark.slow

PAIRS = 50
REFUSALS = ("another process is writing to", "is not empty: choose another --out")


def test_one_of_two_writers_is_refused(
    tmp_path: Path,
    share: Callable[[int], int],
    count: Callable[[str], None],
    programs: Path,
) -> None:
    data = p.samples(tmp_path)
    kinds = {"one": ["--epochs", 8], "seeds": ["--epochs", 4, "--seeds", 4]}
    alone = {}
    for kind, options in kinds.items():
        out = tmp_path / kind
        status, _, errors = p.run("train", *p.TINY, "--data", data, *options, "--out", out)
        assert status == 0, errors
        alone[kind] = p.contents(out)
    refused, at_once, faults = 0, 0, []
    for i in range(share(PAIRS)):
        kind = ("one", "seeds")[i % 2]
        out = tmp_path / f"pair{i}"
        arguments = ["train", *p.TINY, "--data", data, *kinds[kind], "--out", out]
        if i % 4 >= 2:
            arguments.append("--resume")
        pair = [p.start(*arguments) for _ in range(2)]
        ended = [p.finish(process) for process in pair]
        statuses = sorted(status for status, _, _ in ended)
        texts = [errors for status, _, errors in ended if status == 2]
        told = [t for t in texts if p.is_one_line(t) and any(r in t for r in REFUSALS)]
        refused += len(told)
        at_once += sum(REFUSALS[0] in text for text in told)
        late = i % 4 >= 2 and statuses == [0, 0]  # with --resume, after the first had ended
        if not late and (statuses != [0, 2] or len(told) != 1):
            faults.append(f"pair {i}: {ended}")
        elif wrong := p.differing(alone[kind], p.contents(out)):
            faults.append(f"pair {i}: not as one alone: {wrong}")
    count(
        f"two writers: {share(PAIRS)} pairs, {refused} refused, {at_once} of them while the other "
        f"wrote, {len(faults)} faults, 0 hangs"
    )
    assert not faults, "\n".join(faults)
