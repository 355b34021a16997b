"""A user's own record has all that ours have: recipe, PyTorch table, reference, label, colour."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from msae_jax import cli, figures, models
from msae_jax.config import ModelConfig, TrainConfig
from msae_jax.errors import InputError
from msae_jax.figures import style
from msae_jax.interop import load_torch, save_torch
from msae_jax.models.dense import RECORDS, DenseAutoencoder
from msae_jax.recipes import published, recipe
from msae_jax.weights import Weights

RECIPE = TrainConfig(data="digits", epochs=2, batch_size=16)
OWN = '''
"""One file: the model, its PyTorch twin, its record."""
from dataclasses import replace
from functools import partial

from msae_jax.config import TrainConfig
from msae_jax.models.dense import RECORDS, DenseAutoencoder, DenseAutoencoder

calls = []


def reference(model):
    calls.append(model.hidden)
    return RECORDS["baseline"].reference(model)


RECORD = replace(
    RECORDS["baseline"],
    factory=partial(DenseAutoencoder, features=20, hidden=(6,), latent_dim=3),
    recipe=TrainConfig(data="sines", epochs=3, batch_size=64),
    reference=reference,
    label="my own",
    colour="pink",
    parameters=311,
)
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The name of a record in a module of its own."""
    (tmp_path / "own_record.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield "own_record:RECORD"
    sys.modules.pop("own_record", None)


def test_a_record_by_its_path(own: str, tmp_path: Path) -> None:
    settings = recipe(own)
    assert (settings.data, settings.epochs, settings.model.name) == ("sines", 3, own)
    model = models.build(settings.model)
    assert models.parameter_count(model) == models.record(own).parameters == 311
    variables = models.init_variables(model, jax.random.key(0), (20,))
    save_torch(tmp_path / "own.pth", Weights(model, variables, settings))
    opened = load_torch(tmp_path / "own.pth", own)
    kernel = opened.variables["params"]["encoder"]["linear_0"]["kernel"]
    np.testing.assert_array_equal(kernel, variables["params"]["encoder"]["linear_0"]["kernel"])


def test_the_command_line_verifies_a_users_model(
    own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed (the torch extra)")
    test_a_record_by_its_path(own, tmp_path)
    monkeypatch.setattr(sys, "argv", ["msae", "verify", str(tmp_path / "own.pth"), "--model", own])
    assert cli.main() == 0, capsys.readouterr()
    assert "outputs" in capsys.readouterr().out
    assert sys.modules["own_record"].calls == [(6,)]


def test_a_registered_record_is_drawn_by_its_label_and_colour() -> None:
    record = replace(RECORDS["baseline"], recipe=RECIPE, label="my own", colour="pink")
    models.register("own", record)
    try:
        assert figures.label("own") == "my own"
        assert style.colour("own") == style.colour("my own, seed 3") == style.PINK
        assert recipe("own") == replace(RECIPE, model=ModelConfig("own"))
        assert "own" in published()
        with pytest.raises(InputError, match="exists already"):
            models.register("own", record)
    finally:
        del models._RECORDS["own"]
    assert figures.label("own") == "own"
    assert style.colour("baseline, matched parameters", 3) != style.colour("baseline")


def test_a_recipe_keeps_the_options_and_a_class_its_table() -> None:
    options = ModelConfig("any", {"latent_dim": 3}, "flax")
    record = replace(RECORDS["baseline"], recipe=replace(RECIPE, model=options))
    models.register("own", record)
    try:
        assert recipe("own").model == replace(options, name="own")
    finally:
        del models._RECORDS["own"]

    class Tabled(DenseAutoencoder):
        torch_layout = RECORDS["baseline"].layout

    models.register("tabled", Tabled)
    try:
        assert models.find_layout("tabled") is RECORDS["baseline"].layout
    finally:
        del models._RECORDS["tabled"]


def test_what_is_no_model_is_named() -> None:
    with pytest.raises(InputError, match=r"model 'math:pi' is of type float, expected a flax"):
        models.record("math:pi")
