"""Model cards: opened bit for bit, refused where damaged, read as hubs read them."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import yaml
from scipy import stats

from msae_jax import weights
from msae_jax.config import ModelConfig
from msae_jax.errors import InputError
from msae_jax.interop import inspection, read_safetensors
from msae_jax.report import card
from msae_jax.runs import checkpoint
from tests.cli.in_process import msae
from tests.report.conftest import Runs


@pytest.fixture(scope="module")
def made(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The card of seed 1 of three."""
    out = tmp_path_factory.mktemp("cards") / "signals-2"
    card.write(runs.many, out, seed=1)
    return out


def front(folder: Path) -> tuple[dict, str]:
    """Returns the metadata of a card and its text."""
    _, metadata, text = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(metadata), text


def logged(run: Path, metric: str) -> np.ndarray:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return np.array([line[metric] for line in lines if line["epoch"] == 2])


def same(a: object, b: object) -> bool:
    left, right = (dict(jax.tree_util.tree_leaves_with_path(tree)) for tree in (a, b))
    return left.keys() == right.keys() and all(
        left[key].dtype == right[key].dtype and left[key].tobytes() == right[key].tobytes()
        for key in left
    )


def test_a_card_opens_bit_for_bit_with_all_that_the_run_knew(runs: Runs, made: Path) -> None:
    held = checkpoint.load_all(runs.many).one(1)
    opened = weights.open_weights(made)
    assert same(opened.variables, held.variables)
    run = weights.open_weights(runs.many, seed=1)
    assert opened.config == run.config
    assert opened.facts == run.facts
    assert opened.model == run.model
    tensors = read_safetensors(made / "model.safetensors")
    assert tensors["encoder.0.weight"].shape == (8, 128)  # as PyTorch has them
    assert weights.load_many(made) is None


def test_the_text_has_what_hubs_read_and_intervals_over_seeds(runs: Runs, made: Path) -> None:
    metadata, text = front(made)
    assert metadata["library_name"] == "msae_jax"
    assert "license" not in metadata
    assert {"autoencoder", "jax", "baseline"} <= set(metadata["tags"])
    ((result,),) = [entry["results"] for entry in metadata["model-index"]]
    assert result["dataset"] == {"type": "signals.npy", "name": "signals.npy", "split": "test"}
    values = {metric["type"]: metric["value"] for metric in result["metrics"]}
    tested = logged(runs.many, "test_mse")
    assert values["mse"] == tested[1]
    half = stats.t.ppf(0.975, 2) * tested.std(ddof=1) / 3**0.5
    low, high = tested.mean() - half, tested.mean() + half
    row = f"{tested[1]:.5g} | {tested.mean():.5g} | {low:.5g} to {high:.5g} |"
    assert f"| test MSE | mean per value | {row}" in text
    assert "the weights of seed 1, of checkpoint 2." in text
    assert "The run has 2 more seeds" in text
    assert "mj.load_weights('signals-2')" in text


def test_of_one_seed_there_is_no_interval(runs: Runs, tmp_path: Path) -> None:
    card.write(runs.one, tmp_path / "one", license_id="mit")
    metadata, text = front(tmp_path / "one")
    assert metadata["license"] == "mit"
    assert "One seed is not a result" in text
    assert "95% interval" not in text


def test_a_seed_is_to_be_picked(runs: Runs, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds 3 seeds: pick one of 0, 1, 2"):
        card.write(runs.many, tmp_path / "card")
    card.write(runs.sources, tmp_path / "card", member=3)
    assert "differ in more than their seeds: there is no mean" in front(tmp_path / "card")[1]
    with pytest.raises(InputError, match="exists already"):
        card.write(runs.one, tmp_path / "card")
    with pytest.raises(InputError, match="is no run directory"):
        card.write(tmp_path / "card", tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir()] == ["card"]


def test_commands_open_a_card(
    runs: Runs, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a card gives is what the seed of the run gives."""
    for source in ([made], [runs.many, "--seed", 1]):
        assert msae("evaluate", *source, "--json") == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == second
    for name, source in (("a", [made]), ("b", [runs.many, "--seed", 1])):
        given = ("--input", runs.data, "--out", tmp_path / f"{name}.npy")
        assert msae("embed", *source, *given) == 0
    assert np.array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"))
    assert msae("convert", made, tmp_path / "again") == 0
    again = weights.open_weights(tmp_path / "again")
    assert same(again.variables, weights.open_weights(made).variables)
    assert inspection.inspect(made)["format"] == "safetensors"


def test_a_card_takes_no_options_of_runs(made: Path) -> None:
    for options in ({"best": True}, {"seed": 1}, {"member": 0}):
        with pytest.raises(InputError, match=r"are for runs; .* holds one model"):
            weights.open_weights(made, **options)
    with pytest.raises(InputError, match="knows its own model, baseline"):
        weights.open_weights(made, model=ModelConfig("msae"))


def _weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def _config(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"latent_dim": 2', '"latent_dim": 3'))


def _forged(folder: Path) -> None:
    """Other sizes, with a digest that fits them."""
    path = folder / "config.json"
    values = json.loads(path.read_text())
    values["msae_jax"]["config"]["model"]["options"]["latent_dim"] = 3
    text = json.dumps(values["msae_jax"], sort_keys=True)
    values["digest"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(values))


def _resealed(**changes: Any) -> Callable[[Path], None]:
    """Returns a damage: other values, with a digest that fits them."""

    def damage(folder: Path) -> None:
        path = folder / "config.json"
        values = json.loads(path.read_text())
        values["msae_jax"] |= changes
        text = json.dumps(values["msae_jax"], sort_keys=True)
        values["digest"] = hashlib.sha256(text.encode()).hexdigest()
        path.write_text(json.dumps(values))

    return damage


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (_resealed(sha256=5), r"is of no model of msae_jax"),
        (_resealed(sha256=["model.safetensors"]), r"is of no model of msae_jax"),
        (_resealed(epoch=float("inf")), r"was not written by msae card"),
        (_weights, r"model\.safetensors is damaged: it does not match the digest"),
        (_config, r"config\.json is damaged: its values do not match"),
        (_forged, r"does not fit; wrong: .* has shape \[2, 8\], expected \[3, 8\]"),
        (lambda f: (f / "model.safetensors").unlink(), r"model\.safetensors is missing"),
        (lambda f: (f / "config.json").unlink(), r"config\.json is missing"),
        (lambda f: (f / "config.json").write_text("{"), r"config\.json is damaged"),
        (lambda f: (f / "config.json").write_text("{}"), r"is of no model of msae_jax"),
    ],
)
def test_a_damaged_folder_is_one_line_of_error(
    made: Path, tmp_path: Path, damage, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(made, folder)
    damage(folder)
    assert msae("evaluate", folder) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(rf"msae: error: .*{expected}", line)


def test_code_that_a_card_names_does_not_run(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "foreign"
    shutil.copytree(made, folder)
    path = folder / "config.json"
    values = json.loads(path.read_text())
    values["msae_jax"]["config"]["model"]["name"] = "trap_of_card:Model"
    text = json.dumps(values["msae_jax"], sort_keys=True)
    values["digest"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(values))
    (tmp_path / "trap_of_card.py").write_text("raise SystemExit('it ran')")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        with pytest.raises(InputError, match="such code runs only if you name it"):
            weights.open_weights(folder)
