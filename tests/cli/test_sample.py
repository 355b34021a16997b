"""`msae sample`: files of samples, classes, measures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from msae_jax import data, embed, generation, load_weights
from tests.cli.in_process import msae

pytestmark = pytest.mark.usefixtures("all_quick_to_compile")

SMALL = ("--epochs", 1, "--set", "hidden=[16]", "--set", "latent_dim=2", "--batch-size", 479)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`vae`, `plain` and, of images given their class, `given`, all on the digits."""
    folder = tmp_path_factory.mktemp("runs")
    vae = ("--model", "vae3", "--data", "digits")
    assert msae("train", *vae, *SMALL, "--out", folder / "vae") == 0
    plain = ("--model", "baseline-mlp", "--data", "digits")
    assert msae("train", *plain, *SMALL, "--out", folder / "plain") == 0
    own = "msae_jax.models.conditional:ConditionalVae"
    given = ("--model", own, "--data", "conditional:digits", "--likelihood", "bernoulli")
    more = ("--set", "objective.reduction=sum", "--set", "features=794")
    assert msae("train", *given, *more, *SMALL, "--out", folder / "given") == 0
    return folder


def test_samples_of_a_vae_are_those_of_its_prior(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.npz"
    assert msae("sample", runs / "vae", "--n", 6, "--random-seed", 3, "--out", out) == 0
    found = np.load(out)
    assert sorted(found) == ["x", "z"]
    expected = generation.sample(load_weights(runs / "vae"), 6, generation.standard(2), 3)
    np.testing.assert_array_equal(found["z"], expected.z)
    np.testing.assert_allclose(found["x"].reshape(6, -1), expected.x, atol=1e-6)
    assert found["x"].shape == (6, 28, 28, 1)
    again = tmp_path / "x.npy"
    assert msae("sample", runs / "vae", "--n", 6, "--random-seed", 3, "--out", again) == 0
    np.testing.assert_array_equal(np.load(again), found["x"])


def test_a_picture_has_the_samples_in_a_square(runs: Path, tmp_path: Path) -> None:
    picture, array = tmp_path / "x.png", tmp_path / "x.npy"
    for out in (picture, array):
        assert msae("sample", runs / "plain", "--n", 5, "--prior", "mixture", "--out", out) == 0
    large = np.asarray(Image.open(picture))
    pixels = large[::6, ::6]  # 3 x 28 + 2 = 86 pixels, six times
    assert large.shape == (57 * 6, 86 * 6)
    x = np.load(array)[..., 0].clip(0, 1)
    np.testing.assert_allclose(pixels[:28, 29:57], 255 * x[1], atol=0.51)
    np.testing.assert_allclose(pixels[29:, 29:57], 255 * x[4], atol=0.51)
    assert (pixels[29:, 58:] == 255).all()


def test_classes_are_asked_for(runs: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "x.npz"
    own = ("--model", "msae_jax.models.conditional:ConditionalVae")
    made = ("sample", runs / "given", *own, "--n", 5, "--classes", "3,7", "--out", out)
    more = ("--measure", "--measured", 20, "--classifier", "mnist", "--json")
    capsys.readouterr()
    assert msae(*made, *more) == 0
    found = json.loads(capsys.readouterr().out)
    assert np.load(out)["y"].tolist() == [3, 7, 3, 7, 3]
    assert np.load(out)["x"].shape == (5, 28, 28, 1)
    assert found["samples"]["n"] == found["real"]["n"] == 20
    assert found["samples"]["recognised"] is not None
    assert found["bounds"]["importance_weighted"] <= found["bounds"]["negative_elbo"] + 0.1
    assert msae(*made[:-1], tmp_path / "y.npz", "--classes", "3,10") == 2
    assert "numbers from 0 to 9, as 0,3,7, got 3,10" in capsys.readouterr().err


def test_measures_stand_beside_those_of_real_samples(runs: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "x.npz"
    made = ("sample", runs / "plain", "--prior", "gaussian", "--n", 3, "--out", out, "--overwrite")
    more = ("--measure", "--measured", 100, "--classifier", "mnist")
    capsys.readouterr()
    assert msae(*made, *more, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["samples"]["frechet"] > found["real"]["frechet"]
    assert found["samples"]["coverage"] < found["real"]["coverage"]
    digits = data.load("digits")
    rows = np.random.default_rng(0).permutation(len(digits.test.x))[:200]
    classes = generation.classifier("mnist").outputs(digits.test.x[rows]).classes
    assert found["accuracy"] == pytest.approx(np.mean(classes == digits.test.y[rows]))
    weights = load_weights(runs / "plain")
    train, test = (
        embed(weights.model, weights.variables, split.x) for split in (digits.train, digits.test)
    )
    expected = generation.fit_prior(train, "gaussian").log_density(test).mean()
    assert found["prior_nats"] == pytest.approx(expected, rel=1e-4)
    assert "bounds" not in found
    assert len(np.load(out)["x"]) == 3
    assert msae(*made, *more) == 0
    printed = capsys.readouterr().out
    assert "real against real" in printed
    assert "classifier of mnist, which recognises" in printed


@pytest.mark.parametrize(
    ("run", "options", "message"),
    [
        ("vae", ["--prior", "flwo"], "unknown prior 'flwo'. Did you mean 'flow'"),
        ("vae", ["--out", "x.jpg"], "--out must end in .npz, .npy or .png, got x.jpg"),
        ("vae", ["--classes", "3"], "vae3 is given no class: leave --classes out"),
        ("vae", ["--measured", "50"], "--measured and --classifier say how to measure"),
        ("vae", ["--measure"], "there is no classifier of digits: name one whose features suit"),
        ("vae", ["--measure", "--classifier", "mnist", "--measured", "500"], "needs 1000 real"),
    ],
)
def test_what_cannot_be_is_one_line(
    runs: Path, tmp_path: Path, capsys, run: str, options: list[str], message: str
) -> None:
    out = [] if "--out" in options else ["--out", tmp_path / "x.npz"]
    capsys.readouterr()
    assert msae("sample", runs / run, *options, *out) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "x.npz").exists()


def test_a_standard_prior_of_no_vae_is_noted(runs: Path, tmp_path: Path, capsys) -> None:
    made = ("sample", runs / "plain", "--n", 2, "--out", tmp_path / "x.npz")
    assert msae(*made, "--prior", "standard") == 0
    assert "has no posterior: its latents are N(0, I) only if" in capsys.readouterr().err
