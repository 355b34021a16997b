"""Each program of examples/ runs, is short, and says what it should."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from tests.docs import blocks

EXAMPLES = Path(__file__).parents[2] / "examples"
SAID = {  # what the end of each says on any machine
    "train_and_compare": r"64 latents beats 32 latents: .*\nnot a fair comparison: .* parameters",
    "many_seeds": r"epoch 5: test MSE 0\.0\d+ .*\nbest of 4 seeds",
    "convert_pth": r"the same reconstructions: True\n"
    r"(PyTorch is not|largest .*: (0\.0e\+00|\d\.\de-0[6-9])\n)",
    "own_model": r"test MSE 0\.\d+ -> 0\.0\d+\nlatents: \(100, 4\)",
    "detect_anomalies": r"stood still from 1300 to 1330: True",
}


def test_every_example_is_listed_and_short() -> None:
    files = sorted(EXAMPLES.glob("*.py"))
    assert sorted(SAID) == [file.stem for file in files]
    listed = re.findall(r"^\| `(\w+)\.py`", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(SAID)
    assert all(len(file.read_text().splitlines()) < 60 for file in files)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name not in ("many_seeds", "own_model")))
        for name in SAID
    ],
)
def test_an_example_runs(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with blocks.registries_kept():
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert re.search(SAID[name], printed), printed
