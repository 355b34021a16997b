"""A loss, a data set and a study of a user's own, from the command line and nothing else.

The user's module lies in a folder of its own; no file of the project is touched.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from msae_jax import cli, data
from msae_jax.errors import InputError
from msae_jax.results import compare
from msae_jax.weights import load_many, load_weights

MODULE = '''
"""A Laplace likelihood, two data sets and a study."""

import math
import os

import jax.numpy as jnp
import numpy as np

from msae_jax import Dataset, Split, TrainConfig
from msae_jax.config import ModelConfig, Objective
from msae_jax.models.dense import DenseAutoencoder
from msae_jax.train.losses import Likelihood

open(os.environ["SENTINEL"], "a").close()


class Narrow(DenseAutoencoder):
    latent_dim: int = 3


def nats(recon, x):
    """-log p of a Laplace density of scale 1, summed over the values of a sample."""
    error = jnp.abs(recon - x).reshape(len(x), -1)
    return error.sum(axis=1) + error.shape[1] * math.log(2.0)


laplace = Likelihood(nats)
torn = Likelihood(lambda recon, x: jnp.abs(recon - x))
positive = Likelihood(nats, low=0.0)


def waves():
    x = np.sin(np.linspace(0, 6, 128) * np.arange(1, 91)[:, None] / 9).astype(np.float32)
    return Dataset("waves", Split(x[:70]), Split(x[70:]))


class Rows:
    """Samples that are read when they are asked for."""

    def __init__(self, x):
        self._x, self.shape, self.dtype = x, x.shape, x.dtype

    def __len__(self):
        return len(self._x)

    def __getitem__(self, index):
        return self._x[index]

    def __getitems__(self, indices):
        return self._x[np.asarray(indices)]


def stored(data_dir, streaming):
    assert str(data_dir) == "somewhere"
    found = waves()
    if streaming:
        return Dataset("stored", *(Split(Rows(split.x)) for split in (found.train, found.test)))
    return found


SETTINGS = TrainConfig(
    ModelConfig("baseline", {"hidden": [8], "latent_dim": 2}),
    "own_things:waves",
    Objective("own_things:laplace"),
    epochs=5,
    batch_size=35,
)


def study(setup):
    done = setup.train("laplace", SETTINGS)
    setup.out.mkdir(parents=True, exist_ok=True)
    (setup.out / "epochs.txt").write_text(str(len(done.histories[0])))
    setup.finish("own", [], {"laplace": done})


number = 5
'''

pytestmark = pytest.mark.usefixtures("all_quick_to_compile")

SMALL = ["--set", "hidden=[8]", "--set", "latent_dim=2", "--epochs", "2", "--batch-size", "35"]
OWN = ["--data", "own_things:waves", "--likelihood", "own_things:laplace"]


class User:
    """Runs commands in a folder that holds the module and is importable."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.sentinel = folder, folder / "sentinel"
        (folder / "own_things.py").write_text(MODULE)

    def command(self, *args: str | Path) -> tuple[int, str, str]:
        """Returns the status and the output of a command in this process."""
        out, err, argv = io.StringIO(), io.StringIO(), sys.argv
        sys.argv = ["msae", *map(str, args)]
        sys.modules.pop("own_things", None)
        self.sentinel.unlink(missing_ok=True)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                return cli.main(), out.getvalue(), err.getvalue()
        finally:
            sys.argv = argv

    def run(self, *args: str | Path) -> str:
        status, out, err = self.command(*args)
        assert status == 0, err
        return out

    def run_error(self, *args: str | Path) -> str:
        """Returns the one line of a user error."""
        status, _, err = self.command(*args)
        assert status == 2, err
        assert len(err.splitlines()) == 1, err
        return err

    def refused(self, *args: str | Path) -> str:
        """Returns the one line of an error, after which no code of the module has run."""
        err = self.run_error(*args)
        assert not self.sentinel.exists()
        assert "own_things" not in sys.modules
        return err


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    found = User(tmp_path_factory.mktemp("user"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(found.folder)
        patch.chdir(found.folder)
        patch.setenv("SENTINEL", str(found.sentinel))
        yield found
    sys.modules.pop("own_things", None)


@pytest.fixture(scope="module")
def run(user: User) -> Path:
    """A run of two seeds over a loss and a data set of the user's own."""
    out = user.folder / "run"
    user.run("train", "--model", "baseline", *SMALL, *OWN, "--seeds", "2", "--out", out)
    return out


@pytest.fixture(scope="module")
def modelled(user: User) -> Path:
    """A run of two seeds over a model of the user's own."""
    out = user.folder / "modelled"
    model = ["--model", "own_things:Narrow", "--epochs", "1", "--data", "own_things:waves"]
    model += ["--batch-size", "35", "--set", "hidden=[8]"]
    user.run("train", *model, "--seeds", "2", "--out", out)
    return out


def last(run: Path, seed: int) -> dict[str, float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["seed"] == seed][-1]


def test_a_loss_of_ones_own_is_what_is_trained(user: User, run: Path) -> None:
    """Against NumPy, from the reconstructions that the command line writes."""
    x = np.sin(np.linspace(0, 6, 128) * np.arange(1, 91)[:, None] / 9).astype(np.float32)[70:]
    np.save(user.folder / "x.npy", x)
    arrays = ["--input", "x.npy", "--out", "r.npy", "--seed", "1"]
    user.run("reconstruct", run, *arrays)  # needs neither the loss nor the data set
    error = np.abs(np.load(user.folder / "r.npy").astype(np.float64) - x).sum(axis=1).mean()
    line = last(run, 1)
    assert line["test_recon_nats"] == pytest.approx(error + 128 * np.log(2), rel=1e-5)
    # Under the reduction `mean` the loss is the nats per value, not the squared error.
    assert line["test_loss"] == pytest.approx(error / 128 + np.log(2), rel=1e-5)


def test_evaluate_gives_what_training_logged(user: User, run: Path) -> None:
    found = json.loads(user.run("evaluate", run, *OWN, "--json"))
    assert found["n"] == 20
    for index, seed in enumerate((0, 1)):
        for name in ("loss", "nats", "mse"):
            expected = last(run, seed)[f"test_{name}"]
            assert found["values"][name][index] == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_weights(user: User) -> None:
    options = ["--model", "baseline", *SMALL, *OWN, "--epochs", "15", "--seeds", "2"]
    out = user.folder / "killed"
    paths = os.pathsep.join(map(str, (user.folder, Path(__file__).parents[2])))
    command = [sys.executable, "-m", "msae_jax", "train", *options, "--out", str(out)]
    alike = {"PYTHONPATH": paths, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    process = subprocess.Popen(command, env=os.environ | alike)
    while not list((out / "checkpoints").glob("[0-9]*")) and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert len((out / "metrics.jsonl").read_text().splitlines()) < 30
    user.run("train", *options, "--out", user.folder / "whole")
    assert " ".join(["add", *OWN]) in user.refused("train", "--resume", "--out", out)
    user.run("train", "--resume", "--out", out, *OWN)
    for seed in (0, 1):
        a, b = (last(user.folder / name, seed) for name in ("killed", "whole"))
        assert {**a, "seconds": 0} == {**b, "seconds": 0}
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 30


@pytest.mark.parametrize("pipeline", ["resident", "streaming"])
def test_a_source_of_ones_own_streams(user: User, pipeline: str) -> None:
    out = user.folder / pipeline
    stored = ["--data", "own_things:stored", "--data-dir", "somewhere"]
    options = [*SMALL, *stored, "--pipeline", pipeline]
    user.run("train", "--model", "baseline", *options, "--out", out)
    found = json.loads(user.run("evaluate", out, *stored, "--json"))
    assert found["mse"] == pytest.approx(last(out, 0)["test_mse"], rel=1e-5)


def test_a_study_of_ones_own(user: User) -> None:
    printed = user.run("reproduce", "own_things:study", "--quick", "--seeds", "2")
    assert "own_things.study" in printed
    folder = user.folder / "runs" / "quick" / "figures"
    assert (folder / "own_things.study" / "epochs.txt").read_text() == "2"  # quick: two, not five
    assert json.loads((folder / "own_things.study" / "results.json").read_text())["claims"] == []
    assert (folder / "ledger.md").exists()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["train", "--likelihood", "own_things:positive"], "needs data in [0, inf]"),
        (["train", "--likelihood", "own_things:number"], "is of type int, expected losses.Like"),
        (["train", "--data", "own_things:number"], "is of type int, expected msae_jax.Dataset"),
        (["train", "--data", "own_things:wave"], "has no 'wave'"),
        (["reproduce", "own_things:number"], "is of type int, expected an object with reproduce"),
        (["reproduce", "own_thing:study"], "cannot import study"),
    ],
)
def test_a_wrong_one_is_one_line(user: User, args: list[str], words: str) -> None:
    more = [] if args[0] == "reproduce" else ["--out", "never", "--model", "baseline"]
    assert words in user.run_error(*args, *more)
    assert not (user.folder / "never").exists()


def test_a_loss_that_returns_no_number_per_sample_is_one_line(user: User) -> None:
    args = ["train", "--model", "baseline", *SMALL, "--data", "own_things:waves", "--out", "torn"]
    found = user.run_error(*args, "--likelihood", "own_things:torn")
    assert "must return one number per sample, [35], got [35, 128]" in found


def test_opening_a_run_runs_no_code_of_its_model(user: User, modelled: Path) -> None:
    """What `PYTHONPATH` makes importable is not imported, by any command that opens a run."""
    np.save(user.folder / "y.npy", np.zeros((2, 128), np.float32))
    arrays = ["--input", "y.npy", "--out", "z.npy", "--seed", "0"]
    sines = ["--data", "sines"]
    model = ["--model", "own_things:Narrow"]
    for command in (
        ["evaluate", modelled, *sines],
        ["evaluate", modelled, *sines, "--seed", "0"],
        ["embed", modelled, *arrays],
        ["reconstruct", modelled, *arrays],
        ["convert", modelled, "w.safetensors", "--seed", "0"],
        ["convert", modelled, "again", "--seed", "0"],
        ["train", "--resume", "--out", modelled, "--epochs", "2"],
        ["compare", modelled, modelled],
        ["compare", modelled, "baseline", "--epochs", "1"],
        ["compare", "baseline", modelled, "--match", "params", "--epochs", "1"],
    ):
        assert "add --model own_things:Narrow" in user.refused(*command), command
    wrong = user.run_error("embed", modelled, *arrays, "--model", "baseline")
    assert "knows its own model" in wrong
    user.run("embed", modelled, *arrays, *model)
    assert np.load(user.folder / "z.npy").shape == (2, 3)
    user.run("evaluate", modelled, *model, *sines)
    user.run("convert", modelled, "again", "--seed", "0", *model)
    user.run("compare", modelled, modelled, *model)
    user.run(
        "train",
        "--resume",
        "--out",
        modelled,
        *model,
        "--data",
        "own_things:waves",
        "--epochs",
        "2",
    )


def test_opening_a_run_runs_no_code_of_its_data_or_loss(user: User, run: Path) -> None:
    for command, missing in (
        (["evaluate", run], OWN),
        (["evaluate", run, "--seed", "0"], OWN),
        (["evaluate", run, "--data", "sines"], OWN[2:]),
        (["evaluate", run, "--likelihood", "gaussian", "--seed", "0"], OWN[:2]),
        (["train", "--resume", "--out", run, "--epochs", "3"], OWN),
        (["train", "--resume", "--out", run, "--epochs", "3", "--likelihood", "gaussian"], OWN[:2]),
        (["compare", run, "baseline", "--match", "latent"], OWN),
    ):
        assert " ".join(["add", *missing]) + " (in Python" in user.refused(*command), command
    user.run("convert", run, "plain.safetensors", "--seed", "0")
    assert not user.sentinel.exists()
    user.run("compare", run, "baseline", "--match", "latent", *OWN)


def test_python_opens_what_is_named_in_the_call(user: User, modelled: Path) -> None:
    sys.modules.pop("own_things", None)
    for opened in (
        lambda: load_weights(modelled, seed=0),
        lambda: load_many(modelled),
        lambda: compare.side_of(modelled),
    ):
        with pytest.raises(InputError, match="add --model own_things:Narrow"):
            opened()
    assert "own_things" not in sys.modules
    weights = load_weights(modelled, seed=0, model="own_things:Narrow")
    assert type(weights.model).__name__ == "Narrow"
    with pytest.raises(InputError, match="add --data own_things:waves"):
        data.load(weights.config.data)
