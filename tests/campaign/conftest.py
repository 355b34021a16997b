"""Counts of the campaign: how many of each kind are tried, and what came of them.

MSAE_CAMPAIGN_SHARE=0.01 tries a hundredth of each; MSAE_CAMPAIGN_SEED draws others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def seed() -> int:
    return int(os.environ.get("MSAE_CAMPAIGN_SEED", "0"))


@pytest.fixture(scope="session")
def share() -> Callable[[int], int]:
    """Returns how many of a full count are to be tried, at least one."""
    part = float(os.environ.get("MSAE_CAMPAIGN_SHARE", "1"))
    return lambda full: max(1, round(full * part))


@pytest.fixture
def count(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Notes a sentence of counts, which `tests/conftest.py` prints at the end."""
    return lambda text: record_property("campaign", text)


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of compiled programs, shared by all processes of the campaign."""
    folder = tmp_path_factory.mktemp("programs")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
        patch.setenv("XDG_CACHE_HOME", os.environ.get("MSAE_CAMPAIGN_PROGRAMS", str(folder)))
        patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        yield folder
