"""A `.pt2` is a model: evaluated, trained over seeds, cut at its latent, handed back."""

from __future__ import annotations

import json
import shutil

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import msae_jax as mj
from msae_jax import weights as w
from msae_jax.config import ModelConfig, TrainConfig
from msae_jax.errors import InputError
from msae_jax.interop import load_pt2, read_pth
from msae_jax.interop.autoencoder import Autoencoder
from msae_jax.train.products import with_products_in
from tests.cli.in_process import msae
from tests.interop import pt2_by_hand as by_hand

pytestmark = pytest.mark.usefixtures("all_quick_to_compile")


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "model.pt2"
    path.write_bytes(by_hand.written(by_hand.members()))
    return path


@pytest.fixture
def samples(tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    return x


def by_numpy(x):
    hidden = np.maximum(x @ by_hand.WEIGHT.T + by_hand.BIAS, 0)
    return hidden @ by_hand.WEIGHT + by_hand.CONSTANT


def test_commands_take_a_program(program, samples, tmp_path, capsys):
    data = tmp_path / "x.npy"
    assert msae("evaluate", program, "--data", data, "--split", "train", "--json") == 0
    printed = capsys.readouterr()
    assert "recon is output 0, z is the value linear" in printed.err
    found = json.loads(printed.out)
    x = np.asarray(mj.data.load(str(data)).train.x)
    assert found["mse"] == pytest.approx(np.square(by_numpy(x) - x).mean(), rel=1e-5)
    assert msae("reconstruct", program, "--input", data, "--out", tmp_path / "r.npy") == 0
    np.testing.assert_allclose(np.load(tmp_path / "r.npy"), by_numpy(samples), rtol=1e-5)
    assert msae("embed", program, "--input", data, "--out", tmp_path / "z.npy") == 0
    z = samples @ by_hand.WEIGHT.T + by_hand.BIAS
    np.testing.assert_allclose(np.load(tmp_path / "z.npy"), z, rtol=1e-5, atol=1e-6)
    named = ("--set", "z=relu", "--out", tmp_path / "h.npy")
    assert msae("embed", program, "--input", data, *named) == 0
    np.testing.assert_allclose(np.load(tmp_path / "h.npy"), np.maximum(z, 0), rtol=1e-5, atol=1e-6)


def test_the_decoder_is_what_follows_the_latent(program):
    opened = load_pt2(program)
    assert isinstance(opened.module, Autoencoder)
    assert opened.module.is_cut()
    z = jnp.asarray([[0.5, -1.0, 2.0]])
    found = opened.module.apply(opened.variables, z, method="decode")
    wanted = np.maximum(z, 0) @ by_hand.WEIGHT + by_hand.CONSTANT
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(5, 4)), jnp.float32)
    z = opened.module.apply(opened.variables, x, method="encode")
    again = opened.module.apply(opened.variables, z, method="decode")
    np.testing.assert_allclose(again, by_numpy(np.asarray(x)), rtol=1e-5, atol=1e-6)


def test_a_program_multiplies_in_bfloat16_where_it_is_asked(program):
    """Against operands that NumPy rounds and multiplies in float64."""

    def rounded(a):
        return np.asarray(a).astype(ml_dtypes.bfloat16).astype(np.float64)

    opened = load_pt2(program)
    x = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    run = with_products_in("bfloat16", lambda x: opened.module.apply(opened.variables, x).recon)
    hidden = np.maximum(rounded(x) @ rounded(by_hand.WEIGHT).T + by_hand.BIAS, 0)
    wanted = rounded(hidden.astype(np.float32)) @ rounded(by_hand.WEIGHT) + by_hand.CONSTANT
    np.testing.assert_allclose(run(x), wanted, rtol=1e-6, atol=1e-6)
    assert np.abs(run(x) - by_numpy(x)).max() > 1e-4


def test_a_run_keeps_the_program_and_can_be_moved(program, samples, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = TrainConfig(ModelConfig("model.pt2"), data="x.npy", epochs=2, batch_size=8)
    done = mj.fit(settings, seeds=2, out="run")
    final = [line["test_mse"] for line in (done.histories[0][-1], done.histories[1][-1])]
    assert final[0] != final[1]  # the order of the samples differs
    assert final[0] < mj.fit(settings).history[0]["test_mse"] * 1.001
    shutil.move("run", "elsewhere")
    program.unlink()
    opened = w.load_weights("elsewhere", seed=1)
    np.testing.assert_array_equal(
        opened.variables["params"]["down"]["weight"], done.variables(1)["params"]["down"]["weight"]
    )
    assert msae("convert", "elsewhere", "out.pth", "--seed", "1") == 0
    back = read_pth(tmp_path / "out.pth")
    assert list(back) == ["down.weight", "down.bias", "up.weight"]
    np.testing.assert_array_equal(back["up.weight"], done.variables(1)["params"]["up"]["weight"])
    assert msae("train", "--out", "elsewhere", "--resume", "--epochs", "3") == 0
    assert len(w.load_many("elsewhere").seeds) == 2
    (tmp_path / "elsewhere" / "model.pt2").unlink()
    with pytest.raises(InputError, match=r"model\.pt2 does not exist"):
        w.load_weights("elsewhere", seed=1)


def test_what_is_what_is_said_of_a_run_too(program, samples, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    settings = TrainConfig(ModelConfig("model.pt2"), data="x.npy", epochs=1, batch_size=8)
    mj.fit(settings, seeds=2, out="run")
    for name, given in {"z.npy": (), "h.npy": ("--set", "z=relu")}.items():
        assert msae("embed", "run", "--seed", "1", "--input", "x.npy", "--out", name, *given) == 0
    np.testing.assert_array_equal(np.load("h.npy"), np.maximum(np.load("z.npy"), 0))
    capsys.readouterr()
    for assigned, message in {
        "activation=tanh": "knows its own model, run/model.pt2",
        "begin=anew": "knows its own model",
        "recon=7": "has the outputs 0 to 0",
    }.items():
        assert msae("evaluate", "run", "--set", assigned) == 2  # of both seeds
        assert message in capsys.readouterr().err


def test_a_resumed_run_is_that_of_the_same_program(program, samples, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = TrainConfig(ModelConfig("model.pt2"), data="x.npy", epochs=4, batch_size=8)
    whole = mj.fit(settings)
    mj.fit(TrainConfig(ModelConfig("model.pt2"), data="x.npy", epochs=2, batch_size=8), out="run")
    resumed = mj.fit(settings, out="run", resume=True)
    for a, b in zip(
        jax.tree.leaves(whole.variables), jax.tree.leaves(resumed.variables), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    other = by_hand.members()
    other["data/constants/tensor_0"] = (by_hand.CONSTANT + 1).tobytes()
    program.write_bytes(by_hand.written(other))
    with pytest.raises(InputError, match=r"model\.name was .*run.model\.pt2', is 'model\.pt2'"):
        mj.fit(settings, out="run", resume=True)


def test_weights_are_drawn_anew_as_pytorch_draws_them(tmp_path):
    path = tmp_path / "model.pt2"
    path.write_bytes(by_hand.written(by_hand.members()))
    module = load_pt2(path).module.clone(begin="anew")
    one, other = (module.init(jax.random.key(seed), jnp.zeros((2, 4))) for seed in (0, 1))
    down = np.asarray(one["params"]["down"]["weight"])
    assert np.abs(down).max() <= 1 / np.sqrt(4)
    assert np.abs(one["params"]["up"]["weight"]).max() <= 1 / np.sqrt(3)
    assert not np.array_equal(down, other["params"]["down"]["weight"])
    nodes = "graph_module__graph__nodes__0__metadata__nn_module_stack"
    path.write_bytes(by_hand.changed(**{nodes: "L__self__,,mine.Net;a,down,mine.Own"}))
    with pytest.raises(InputError, match=r"how PyTorch draws down\.weight, down\.bias"):
        load_pt2(path).module.clone(begin="anew").init(jax.random.key(0), jnp.zeros((2, 4)))


def test_frozen_parameters_stay_as_they_are(samples, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    raw = by_hand.members()
    config = raw["data/weights/model_weights_config.json"]["config"]
    config["down.bias"]["tensor_meta"]["requires_grad"] = False
    (tmp_path / "model.pt2").write_bytes(by_hand.written(raw))
    assert "not trained, as requires_grad=False has it: down.bias" in load_pt2("model.pt2").notes
    settings = TrainConfig(ModelConfig("model.pt2"), data="x.npy", epochs=1, batch_size=8)
    mj.fit(settings, out="run")
    assert msae("convert", "run", "out.pth") == 0
    back = read_pth(tmp_path / "out.pth")
    assert list(back) == ["down.weight", "down.bias", "up.weight"]
    np.testing.assert_array_equal(back["down.bias"], by_hand.BIAS)
    assert not np.array_equal(back["down.weight"], by_hand.WEIGHT)
    for one in config.values():
        one["tensor_meta"]["requires_grad"] = False
    (tmp_path / "model.pt2").write_bytes(by_hand.written(raw))
    with pytest.raises(InputError, match="nothing to train"):
        mj.fit(settings)


def test_any_programs_state_is_converted(tmp_path):
    """Whether it has several inputs or operators that are not supported."""
    path = tmp_path / "m.pt2"
    target = {"graph_module__graph__nodes__1__target": "torch.ops.aten.fft_rfft.default"}
    path.write_bytes(by_hand.changed(**target))
    assert msae("convert", path, tmp_path / "out.pth") == 0
    back = read_pth(tmp_path / "out.pth")
    assert list(back) == ["down.weight", "down.bias", "up.weight"]
    np.testing.assert_array_equal(back["down.weight"], by_hand.WEIGHT)
    assert msae("convert", path, tmp_path / "out.onnx") == 2


def test_what_a_strangers_program_has_is_said(tmp_path):
    path, first = tmp_path / "m.pt2", "graph_module__graph__nodes__0__"
    target = {f"{first}target": "torch.ops.higher_order.wrap_with_set_grad_enabled"}
    path.write_bytes(by_hand.changed(**target, **{f"{first}inputs__0__name": ""}))
    with pytest.raises(InputError, match=r"not supported are higher_order\.wrap_with_set_grad"):
        load_pt2(path)
    token = {"token": {"arg": {"name": "token"}}}
    path.write_bytes(by_hand.changed(graph_module__signature__input_specs__0=token))
    with pytest.raises(InputError, match="has an input of the kind 'token'"):
        load_pt2(path)
    raw = by_hand.members()
    module = raw["models/model.json"]["graph_module"]
    module["graph"]["outputs"].insert(0, {"as_tensor": {"name": "linear"}})
    module["signature"]["output_specs"].insert(
        0, {"buffer_mutation": {"arg": {"name": "linear"}, "buffer_name": "down.bias"}}
    )
    path.write_bytes(by_hand.written(raw))
    assert "exported in training mode: it changes down.bias" in load_pt2(path).notes[0]


def test_a_parameter_that_nothing_reads_is_not_drawn_anew(tmp_path):
    path, node = tmp_path / "m.pt2", "graph_module__graph__nodes__0__"
    changes = {
        f"{node}inputs__2__arg": {"as_none": True},
        f"{node}metadata__nn_module_stack": "L__self__,,mine.Net;a,down,mine.Own",
        f"{node}inputs__1__arg": {"as_tensor": {"name": "p_down_weight"}},
    }
    path.write_bytes(by_hand.changed(**changes))
    with pytest.raises(InputError, match=r"how PyTorch draws down\.weight: train"):
        load_pt2(path).module.clone(begin="anew").init(jax.random.key(0), jnp.zeros((2, 4)))
    del changes[f"{node}metadata__nn_module_stack"]
    path.write_bytes(by_hand.changed(**changes))
    drawn = load_pt2(path).module.clone(begin="anew").init(jax.random.key(0), jnp.zeros((2, 4)))
    np.testing.assert_array_equal(drawn["params"]["down"]["bias"], by_hand.BIAS)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("recon=3", "outputs 0 to 0; recon is given as 3"),
        ("z=nowhere", "no output, module or value 'nowhere'"),
        ("tensors=1", "unknown option"),
        ("begin=anew", "it is for msae train"),
    ],
)
def test_options_that_stand_for_nothing_are_refused(
    option, message, program, samples, tmp_path, capsys
):
    assert msae("evaluate", program, "--data", tmp_path / "x.npy", "--set", option) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert error.count("\n") == 0


def test_training_begins_with_the_file_or_anew(program, samples, tmp_path, capsys):
    run = ("train", "--model", program, "--data", tmp_path / "x.npy", "--set", "begin=new")
    assert msae(*run, "--out", tmp_path / "run") == 2
    assert "begin is file or anew" in capsys.readouterr().err


def test_samples_of_another_shape_are_refused(program, tmp_path, capsys):
    np.save(tmp_path / "odd.npy", np.ones((20, 5), np.float32))
    assert msae("evaluate", program, "--data", tmp_path / "odd.npy") == 2
    assert "reads samples of the shape [4]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        (("mu=down", "log_var=recon"), "no output, module or value 'recon'"),
        (("mu=down", "log_var=0"), "mu has the shape [2, 3] and log_var [2, 4]"),
        (("log_var=down",), "log_var is given without mu"),
        (("begin=anew", "recon=down"), "the shape [2, 3], and samples have the shape [4]"),
    ],
)
def test_a_program_that_does_not_train_leaves_no_run(
    roles, message, program, samples, tmp_path, capsys
):
    options = [part for role in roles for part in ("--set", role)]
    run = ("--data", tmp_path / "x.npy", "--epochs", "1", "--out", tmp_path / "run")
    assert msae("train", "--model", program, *run, *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
