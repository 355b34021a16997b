"""What is recorded of the machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from msae_jax import environment


def test_the_machine_is_described_with_its_processor() -> None:
    found = environment.describe_machine()
    assert found["cores"] == os.cpu_count()
    assert found.items() >= environment.describe().items()


@pytest.mark.parametrize(
    ("table", "name"),
    [
        (
            "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fma avx512f avx2\n",
            "Some CPU, AVX-512",
        ),
        ("processor\t: 0\nmodel name\t: Old CPU\nflags\t\t: fma avx2\n", "Old CPU"),
        ("", "by platform"),
        (None, "by platform"),
    ],
)
def test_the_processor_is_named(
    table: str | None, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if table is not None:
        (tmp_path / "cpuinfo").write_text(table)
    monkeypatch.setattr(environment, "Path", lambda path: tmp_path / Path(path).name)
    monkeypatch.setattr(environment.platform, "processor", lambda: "by platform")
    assert environment.describe_machine()["processor"] == name
