"""`inspect`: what is in a file of weights or a run directory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import msae_jax as mj
from msae_jax.errors import InputError
from msae_jax.interop import load_torch, write_tensors
from msae_jax.interop.inspection import as_text, inspect
from tests.cli.in_process import msae
from tests.interop.test_pth_reading import (
    ENCODER_AND_DECODER,
    ONE,
    ONE_DATA,
    QUANTISED,
    state,
    tensor,
    text,
    write_zip,
)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_of_a_model_of_ours(suffix, tmp_path, published, random_state_dict):
    tensors = random_state_dict(published["vae3"])
    path = tmp_path / f"a{suffix}"
    write_tensors(path, tensors)
    found = inspect(path)
    [one] = found["state_dicts"]
    assert one["model"] == {"name": "vae3", "options": {}}
    assert one["values"] == sum(array.size for array in tensors.values())
    assert [(t["name"], t["shape"], t["dtype"]) for t in one["tensors"]] == [
        (name, list(array.shape), "float32") for name, array in tensors.items()
    ]
    assert found["bytes"] == path.stat().st_size
    assert f"msae convert {path} RUN" in found["next"][0]


def test_a_model_inside_a_larger_module(tmp_path, published, random_state_dict):
    tensors = random_state_dict(published["vae3"])
    path = tmp_path / "a.pth"
    write_tensors(path, {f"net.vae.{name}": array for name, array in tensors.items()})
    [one] = inspect(path)["state_dicts"]
    assert (one["model"]["name"], one["prefix"]) == ("vae3", "net.vae.")
    weights = load_torch(path)
    np.testing.assert_array_equal(
        weights.variables["params"]["mu"]["kernel"], tensors["fc2.weight"].T
    )


def test_a_file_of_no_model_says_so_and_what_to_do(tmp_path):
    path = tmp_path / "a.pth"
    write_tensors(path, {"conv_first.weight": np.zeros((2, 3), np.float32)})
    [one] = inspect(path)["state_dicts"]
    assert (one["model"], one["against"]) == (None, "it is of none of our models")
    with pytest.raises(InputError, match=r"none of our models: `msae inspect .*a\.pth` shows"):
        load_torch(path)


def test_several_state_dicts_optimizer_and_other_values(tmp_path):
    optimizer = (
        b"}" + text("state") + b"}K\x00}" + text("exp_avg") + ONE + b"s" + text("exp_avg_sq")
        + ONE + b"sss" + text("param_groups") + b"]}" + text("lr") + b"G\x3f\xe0" + bytes(6)
        + b"sas"
    )  # fmt: skip
    whole = ENCODER_AND_DECODER + text("opt") + optimizer + b"s"
    found = inspect(write_zip(tmp_path / "a.pth", whole, ONE_DATA))
    assert [one["key"] for one in found["state_dicts"]] == ["nets.enc", "nets.dec"]
    assert found["optimizers"] == [
        {"key": "opt", "kind": "Adam", "parameters": 1, "settings": {"lr": 0.5}}
    ]
    assert found["other"] == {"epoch": "3"}


def test_shared_memory_and_quantised_tensors_are_named(tmp_path):
    program = state(a=ONE, b=tensor("0", 2, (1,), (1,)), q=QUANTISED)
    [one] = inspect(write_zip(tmp_path / "a.pth", program, ONE_DATA))["state_dicts"]
    assert one["tensors"][1] == {
        "name": "b", "shape": [1], "dtype": "float32", "bytes": 4, "shares": "a"
    }  # fmt: skip
    assert one["tensors"][2]["dtype"] == "quantised"
    assert "q (quantised)" in one["against"]


def test_a_run_directory(tmp_path, signals):
    settings = mj.config.override(mj.recipe("baseline"), {"epochs": 1, "batch_size": 512})
    mj.fit(settings, signals, seeds=2, out=tmp_path / "run")
    found = inspect(tmp_path / "run")
    assert (found["model"]["name"], found["data"], found["seeds"]) == ("baseline", "sines", [0, 1])
    shapes = {t["name"]: t["shape"] for t in found["state_dicts"][0]["tensors"]}
    assert shapes["params/encoder/linear_0/kernel"] == [128, 128]
    assert "checkpoint 1, 2 seeds: 0, 1" in as_text(found)


def test_the_command_prints_names_escaped(tmp_path: Path, capsys):
    program = state(**{"\x1b[31mred": ONE})
    path = write_zip(tmp_path / "a.pth", program, ONE_DATA)
    assert msae("inspect", path) == 0
    printed = capsys.readouterr().out
    assert "\\x1b[31mred" in printed
    assert "\x1b" not in printed
    assert msae("inspect", tmp_path / "none.pth") == 2
