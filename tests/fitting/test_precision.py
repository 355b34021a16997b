"""Runs in bfloat16: the warning, what is kept, and that they go on to the same bits."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from msae_jax.config import ModelConfig, TrainConfig
from msae_jax.data import Dataset, Split
from msae_jax.errors import InputError
from msae_jax.fitting.loop import fit
from msae_jax.fitting.range_test import range_test
from msae_jax.results import compare
from msae_jax.system import precision

pytestmark = pytest.mark.usefixtures("all_quick_to_compile")

X = np.random.default_rng(0).normal(size=(32, 6)).astype(np.float32)
DATA = Dataset("x", Split(X[:24]), Split(X[24:]))
LOW = TrainConfig(
    ModelConfig("tests.train.small:Normed"), epochs=2, batch_size=8, precision="bfloat16"
)


def test_a_run_is_warned_of_and_goes_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "missing", lambda *_: "no units")
    with pytest.warns(UserWarning, match="no units: the precision bfloat16 gives the same"):
        fit(replace(LOW, epochs=1), DATA, seeds=2, out=tmp_path / "run")
    assert json.loads((tmp_path / "run" / "config.json").read_text())["precision"] == "bfloat16"
    monkeypatch.setattr(precision, "missing", lambda *_: None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resumed = fit(LOW, DATA, seeds=2, out=tmp_path / "run", resume=True)
        whole = fit(LOW, DATA, seeds=2)
        plain = fit(replace(LOW, precision="float32"), DATA, seeds=2)
    for a, b in zip(*map(jax.tree.leaves, (resumed.weights, whole.weights)), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(InputError, match="precision was 'bfloat16', is 'float32'"):
        fit(
            replace(LOW, precision="float32", epochs=3),
            DATA, seeds=2, out=tmp_path / "run", resume=True,
        )  # fmt: skip
    low, full = (compare.side_of(done, name=done.config.precision) for done in (whole, plain))
    assert low.values != full.values
    assert low.values == pytest.approx(full.values, rel=2**-5)
    unfair = ["precision is 'bfloat16' for bfloat16, 'float32' for float32"]
    assert compare.compare(low, full).unfair == unfair
    assert compare.compare(low, full, meant=["precision"]).unfair == []


def test_a_range_test_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "missing", lambda *_: "no units")
    with pytest.warns(UserWarning, match="no units"):
        found = range_test(LOW, DATA, steps=20)
    assert found.losses.shape == (1, 20)
