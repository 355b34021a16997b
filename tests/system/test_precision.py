"""Which devices are known to have units for bfloat16, and what is said of the others."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from msae_jax.system import precision

X86, ARM = "flags\t\t: fpu avx512f {}\n", "Features\t: fp asimd {}\n"


def device(platform: str, **fields: str) -> SimpleNamespace:
    return SimpleNamespace(platform=platform, device_kind="Some Device", **fields)


@pytest.mark.parametrize(
    ("line", "has_units"),
    [
        (X86.format("avx512_bf16"), True),
        (X86.format("amx_bf16 amx_tile"), True),
        (ARM.format("bf16"), True),
        (X86.format("avx512_vnni"), False),
        (ARM.format("sve"), False),
    ],
)
def test_a_processor_has_what_its_table_lists(line: str, has_units: bool, tmp_path: Path) -> None:
    table = tmp_path / "cpuinfo"
    table.write_text(f"model name : Some Processor\n{line}")
    assert precision.processor_has_units(table) is has_units
    why = precision.missing(device("cpu"), table)
    assert (why is None) is has_units
    assert has_units or (why or "").startswith("this CPU has no units for bfloat16")


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (device("tpu"), None),
        (device("gpu", compute_capability="8.0"), None),
        (device("gpu", compute_capability="10.0"), None),
        (
            device("gpu", compute_capability="7.5"),
            "the GPU Some Device has no units for bfloat16 (compute capability 7.5, and they came "
            "with 8.0)",
        ),
        (
            device("gpu", compute_capability="gfx90a"),
            "it is not known whether the GPU Some Device has units for bfloat16",
        ),
        (device("gpu"), "it is not known whether the GPU Some Device has units for bfloat16"),
        (device("metal"), "it is not known whether this METAL has units for bfloat16"),
        (device("cpu"), "it is not known whether this CPU has units for bfloat16"),
    ],
)
def test_other_devices(found: SimpleNamespace, why: str | None, tmp_path: Path) -> None:
    assert precision.missing(found, tmp_path / "no table") == why


def test_float32_needs_no_remark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "missing", lambda *_: "no units")
    assert precision.remark("float32") is None
    said = precision.remark("bfloat16")
    assert (
        said == "no units: the precision bfloat16 gives the same numbers here, and gains no time."
    )
