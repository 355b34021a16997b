"""What is recorded of the machine."""

from __future__ import annotations

import platform
from pathlib import Path

import jax
import pytest

from msae_jax.system import environment


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("processor\t: 0\nmodel name\t: Some CPU\nflags\t: fma avx512f\n", "Some CPU, AVX-512"),
        ("processor\t: 0\nmodel name\t: Old CPU\nflags\t: fma avx2\n", "Old CPU"),
        ("processor\t: 0\nFeatures\t: fp asimd\n", "by platform"),
        (None, "by platform"),
    ],
)
def test_the_processor_is_named(
    table: str | None, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if table is not None:
        (tmp_path / "cpuinfo").write_text(table)
    monkeypatch.setattr(platform, "processor", lambda: "by platform")
    assert environment._processor(tmp_path / "cpuinfo") == name


def test_a_processor_without_a_name_is_its_architecture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert environment._processor(tmp_path / "absent") == "aarch64"


def test_times_are_kept_with_processor_and_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_processor", lambda: "Some CPU")
    monkeypatch.setattr(environment.os, "cpu_count", lambda: 6)
    found = environment.describe_machine()
    assert (found["processor"], found["cores"]) == ("Some CPU", 6)
    assert found["device"].startswith(f"{len(jax.devices())} x {jax.default_backend()} (")
