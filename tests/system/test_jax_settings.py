"""JAX's own environment variables: 64-bit numbers, platforms that are not there, threads."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from msae_jax import Dataset, Split, recipe
from msae_jax.train import seeds
from msae_jax.train.seeds import Member

ALL = """
import json
from tests.system.test_jax_settings import dtypes
from msae_jax import models

print(json.dumps(dtypes(*models.names(), "conv flax", "pyramid flax", "pca flax")))
"""

THREADS = """
import sys, threading
from dataclasses import replace
import numpy as np
import msae_jax as mj
from msae_jax import Dataset, Split
from msae_jax.config import override

x = np.random.RandomState(0).rand(20, 16).astype(np.float32)
dataset = Dataset("x", Split(x[:16]), Split(x[16:]))
settings = replace(mj.recipe("baseline"), data="x", epochs=5)
settings = override(settings, {"hidden": [8], "latent_dim": 2})
mj.fit(settings, dataset)  # so that the threads have no program to compile

def train(seed):
    mj.fit(replace(settings, seed=seed), dataset, out=f"{sys.argv[1]}/{seed}")

for turn in range(3):
    pair = [threading.Thread(target=train, args=(2 * turn + i,)) for i in range(2)]
    [t.start() for t in pair], [t.join() for t in pair]
embedded = [mj.embed(*mj.load_weights(f"{sys.argv[1]}/{seed}")[:2], x) for seed in range(6)]
print(len(np.unique(embedded, axis=0)))
"""


def python(code: str, *args: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, args)],
        capture_output=True, text=True, timeout=300, env=os.environ | environment,
    )  # fmt: skip


def dtypes(*cases: str) -> dict[str, list[str]]:
    """Returns the types of the states, metrics and test terms of models, as they are traced."""
    signals, images = np.zeros((4, 128), np.float32), np.zeros((4, 28, 28, 1), np.uint8)
    found = {}
    for case in cases:
        name, _, scheme = case.partition(" ")
        settings = recipe(name)
        if scheme:
            settings = replace(settings, model=replace(settings.model, init_scheme=scheme))
        x = signals if settings.data == "sines" else images
        dataset, members = Dataset("x", Split(x), Split(x)), [Member(0), Member(1)]
        task = seeds.make_task(settings, dataset, members)
        states = seeds.shapes(task, settings, members, x.shape[1:])
        spread = seeds.Spread(seeds.make_mesh(members=1))
        active = np.ones(2, bool)
        step = functools.partial(seeds.train_epoch, task, batch_size=2, spread=spread)
        test = functools.partial(seeds.eval_step, task, spread=spread)
        traced = jax.eval_shape(step, states, active, x), jax.eval_shape(test, states, active, x, 0)
        found[case] = [str(a.dtype) for a in jax.tree.leaves(traced)]
    return found


NUMBERS = {"float32", "int32", "bool", "key<fry>"}


def test_numbers_are_float32_where_jax_allows_64_bits() -> None:
    """Of models without and with a latent distribution."""
    with jax.enable_x64(True):
        assert jax.numpy.zeros(1).dtype == "float64"
        found = dtypes("baseline", "vae3")
    for name, types in found.items():
        assert set(types) <= NUMBERS, name


@pytest.mark.slow
def test_numbers_of_every_model_are_float32_where_jax_allows_64_bits() -> None:
    done = python(ALL, JAX_ENABLE_X64="1", PYTHONPATH=str(Path(__file__).parents[2]))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {"conv", "msae", "vae3"} <= set(found)
    for name, types in found.items():
        assert set(types) <= NUMBERS, name


@pytest.mark.parametrize("variable", ["JAX_PLATFORMS", "JAX_PLATFORM_NAME"])
def test_a_platform_that_is_not_there_is_one_line(variable: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.RandomState(0).rand(20, 16))
    code = "import sys; from msae_jax.cli import main; sys.exit(main())"
    command = [
        "train",
        "--model",
        "baseline",
        "--data",
        tmp_path / "x.npy",
        "--out",
        tmp_path / "r",
    ]
    done = python(code, *command, **{variable: "nowhere"})
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("msae: error: JAX finds no device: ")
    assert line.endswith(f"; {variable}=nowhere asks for it: unset it.")
    assert not (tmp_path / "r").exists()


@pytest.mark.slow
def test_threads_may_train_at_once_each_into_its_own_directory(tmp_path: Path) -> None:
    done = python(THREADS, tmp_path)
    assert (done.returncode, done.stdout) == (0, "6\n"), done.stderr
