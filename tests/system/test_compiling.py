"""Programs that are compiled quickly."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msae_jax import train
from msae_jax.config import ModelConfig, TrainConfig
from msae_jax.data import Dataset
from msae_jax.system import compiling


@pytest.mark.slow  # `make test` compiles everything quickly
@pytest.mark.parametrize("model", ["msae", "baseline"])
def test_quick_programs_give_the_bits_of_others(model: str, signals: Dataset) -> None:
    task = train.make_task(TrainConfig(model=ModelConfig(model)), signals)

    @jax.jit
    def usual(seed: int) -> train.TrainState:
        return train.state_of_keys(task, train.seed_keys(seed), signals.sample_shape)

    quick = train.init_state(task, 3, signals.sample_shape)
    for a, b in zip(jax.tree.leaves(quick.params), jax.tree.leaves(usual(3).params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_only_cpus_are_asked_to_compile_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    assert compiling.fast_compile_options()
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert compiling.fast_compile_options() is None


@pytest.mark.parametrize("wide", [False, True])
def test_programs_that_train_and_that_infer_say_what_they_are(
    wide: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    real = jax.jit
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    monkeypatch.setattr(compiling, "HAS_YNNPACK", True)
    monkeypatch.setattr(jax, "jit", lambda f, **k: asked.append(k["compiler_options"]) or real(f))
    monkeypatch.setattr(compiling, "wide", lambda: wide)
    double = compiling.jit_inference(lambda x: 2 * x)
    assert (float(double(jnp.float32(3))), float(double(jnp.float32(4)))) == (6.0, 8.0)
    assert float(compiling.jit_training(lambda x: 2 * x)(jnp.float32(3))) == 6.0
    vectors = {"xla_cpu_prefer_vector_width": 512} if wide else {}
    assert asked == [{"xla_cpu_experimental_ynn_fusion_type": ""} | vectors, vectors or None]
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert float(compiling.jit_inference(lambda x: 2 * x)(jnp.float32(3))) == 6.0
    assert asked[2:] == [None]
    assert jax.eval_shape(double, jnp.float32(3)).dtype == jnp.float32  # refuses none, either
    assert double.lower(jnp.float32(3)).as_text()  # what else a compiled function has


def test_512_bits_are_for_processors_with_bfloat16(tmp_path: Path) -> None:
    table = tmp_path / "cpuinfo"
    table.write_text("processor : 0\nflags : fpu avx512f avx512_bf16\n")
    assert compiling.wide(table)
    table.write_text("processor : 0\nflags : fpu avx512f avx512_vnni\n")
    assert not compiling.wide(table)
    assert not compiling.wide(tmp_path / "none")
