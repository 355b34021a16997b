from __future__ import annotations

import json

import pytest

from msae_jax import config
from msae_jax.config import (
    Adversarial,
    EarlyStopping,
    ModelConfig,
    Objective,
    OptimizerConfig,
    TrainConfig,
)
from msae_jax.errors import InputError
from msae_jax.recipes import published, recipe


def test_a_configuration_survives_json() -> None:
    settings = TrainConfig(
        model=ModelConfig("conv", {"latent_dim": 8}, "flax"),
        objective=Objective("bernoulli", "sum", 4.0),
        optimizer=OptimizerConfig("sgd", 0.1, momentum=0.9, clip_norm=1.0),
        adversarial=Adversarial("images", similarity="features", width=8),
        early_stopping=EarlyStopping(3, "test_mse"),
    )
    text = json.dumps(config.to_dict(settings))
    assert config.from_dict(TrainConfig, json.loads(text)) == settings


def test_a_configuration_from_before_these_fields_loads() -> None:
    values = config.to_dict(recipe("vae3"))
    del values["objective"]["noise_std"]
    del values["objective"]["augment"]
    for field in ("accumulate", "precision", "init_from", "freeze", "adversarial"):
        del values[field]
    for field in ("ema", "no_decay"):
        del values["optimizer"][field]
    assert config.from_dict(TrainConfig, values) == recipe("vae3")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: OptimizerConfig("adma"), "'adam'"),
        (lambda: OptimizerConfig(learning_rate=0.0), "greater than 0"),
        (lambda: OptimizerConfig(momentum=0.9), "momentum belongs to"),
        (lambda: OptimizerConfig(weight_decay=0.1), "weight_decay belongs to"),
        (lambda: OptimizerConfig("adamw", no_decay="bias"), "no_decay needs a weight_decay"),
        (lambda: OptimizerConfig(ema=1.0), "ema must be below 1, such as 0.999, got 1.0"),
        (lambda: OptimizerConfig(ema=-0.1), "ema must be at least 0"),
        (lambda: TrainConfig(accumulate=0), "accumulate must be a whole number, at least 1"),
        (lambda: TrainConfig(precision="float16"), "unknown precision 'float16'"),
        (lambda: TrainConfig(init_from=""), "init_from must be the path of weights, got ''"),
        (lambda: OptimizerConfig(final_fraction=0.1), "needs schedule"),
        (lambda: Objective("gausian"), "'gaussian'"),
        (lambda: Objective(beta=-1.0), "beta must be at least 0"),
        (lambda: Objective(noise_std=-0.1), "noise_std must be at least 0"),
        (lambda: Objective("bernoulli", augment="jitter:1"), "the bernoulli likelihood needs"),
        (lambda: EarlyStopping(0), "patience must be a whole number, at least 1"),
        (lambda: EarlyStopping(1, "test_los"), "'test_loss'"),
        (lambda: TrainConfig(model="msae"), "model must be a config.ModelConfig, got 'msae'"),  # type: ignore[arg-type]
        (lambda: TrainConfig(early_stopping=5), "early_stopping must be a config.EarlyStopping"),  # type: ignore[arg-type]
        (lambda: TrainConfig(epochs=0), "epochs must be a whole number, at least 1, got 0"),
        (lambda: TrainConfig(batch_size=2.5), "batch size must be a whole number"),  # type: ignore[arg-type]
        (
            lambda: TrainConfig(batch_size="64"),
            "batch size must be a whole number, at least 1, got '64'",
        ),  # type: ignore[arg-type]
        (lambda: TrainConfig(seed=2**32), "below 2\\*\\*32"),
        (lambda: config.from_dict(TrainConfig, {"epoch": 3}), "'epochs'"),
    ],
)
def test_bad_values_are_named(make, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()


def test_override_reaches_every_level() -> None:
    changed = config.override(
        recipe("vae3"),
        {
            "epochs": 2,
            "latent_dim": 5,
            "optimizer.learning_rate": 0.01,
            "early_stopping.patience": 4,
        },
    )
    assert changed.epochs == 2
    assert changed.model == ModelConfig("vae3", {"latent_dim": 5})
    assert changed.optimizer.learning_rate == 0.01
    assert changed.early_stopping == EarlyStopping(4)
    assert changed.objective == Objective("bernoulli", "sum")


def test_override_refuses_what_does_not_exist() -> None:
    with pytest.raises(InputError, match="learning_rate"):
        config.override(TrainConfig(), {"optimizer.learning_rte": 0.1})
    with pytest.raises(InputError, match="incomplete configuration"):
        config.override(TrainConfig(), {"early_stopping.metric": "test_mse"})


def test_assignments_are_json_or_text() -> None:
    assert config.parse_assignment("hidden=[400,200]") == ("hidden", [400, 200])
    assert config.parse_assignment("output=sigmoid") == ("output", "sigmoid")
    with pytest.raises(InputError, match="FIELD=VALUE"):
        config.parse_assignment("latent_dim")


def test_differences_name_dotted_fields() -> None:
    a, b = ({"x": 1, "y": {"z": 2, "w": 3}}, {"x": 1, "y": {"z": 4, "w": 3}})
    assert config.differences(a, b) == {"y.z": (2, 4)}


def test_recipes_are_the_published_ones() -> None:
    recipes = {name: recipe(name) for name in published()}
    facts = {name: (r.data, r.epochs, r.batch_size) for name, r in recipes.items()}
    assert facts["msae"] == facts["baseline"] == ("sines", 20, 64)
    assert facts["msae-mlp"] == facts["baseline-mlp"] == ("mnist", 20, 64)
    assert facts["conv"] == facts["superres"] == facts["stacked"] == ("mnist", 5, 128)
    assert facts["vae3"] == facts["vae5"] == facts["ae5"] == ("fashion_mnist", 15, 64)
    assert recipe("conv").objective == Objective("gaussian", "mean")
    assert recipe("conv").optimizer == OptimizerConfig("adam", 1e-3)


def test_a_recipe_of_no_model_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"unknown model 'vae33'\. Did you mean 'vae3'"):
        recipe("vae33")
