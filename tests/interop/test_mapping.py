"""The walk between state dicts and Flax variables, without PyTorch."""

from __future__ import annotations

import flax.linen as nn
import jax
import numpy as np
import pytest

from msae_jax import models
from msae_jax.config import ModelConfig
from msae_jax.errors import InputError
from msae_jax.interop import mapping
from msae_jax.models.layers import Linear
from msae_jax.models.layout import Layer, Layout
from msae_jax.models.output import Output, finish

NAMES = (
    "msae", "baseline", "msae-mlp", "baseline-mlp", "superres", "conv", "stacked", "vae3", "vae5",
    "ae5",
)  # fmt: skip


def table(name: str, **options: object) -> list[mapping.Entry]:
    return mapping.table(models.find_layout(name), models.build(ModelConfig(name, options)))


@pytest.mark.parametrize("name", NAMES)
def test_published_keys_and_shapes_in_order(name: str, published) -> None:
    assert [(e.key, e.shape) for e in table(name)] == list(published[name].items())


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("name", NAMES)
def test_round_trips_are_bit_identical(
    name: str, dtype: str, published, random_state_dict, same_bits
) -> None:
    entries, tensors = table(name), random_state_dict(published[name], dtype)
    variables = mapping.to_variables(entries, tensors, "it")
    model = models.build(ModelConfig(name))
    init = jax.eval_shape(
        lambda key: models.init_variables(model, key, model.sample_shape), jax.random.key(0)
    )
    shapes = jax.tree.map(lambda leaf: leaf.shape, dict(init))
    assert jax.tree.map(np.shape, variables) == shapes
    assert same_bits(mapping.to_state_dict(entries, variables, "it"), tensors)


def test_kernels_and_flattened_grids_are_where_they_belong(published, random_state_dict) -> None:
    """By index: weight[o, i, a, b] = kernel[a, b, i, o]; transposed weight[i, o, a, b], unflipped;
    column c H W + h W + w of PyTorch's flattening is row h W C + w C + c of ours."""
    options = {"image_shape": [16, 8, 2], "channels": [3, 4, 5], "latent_dim": 6}
    entries = table("conv", **options)
    tensors = random_state_dict({entry.key: entry.shape for entry in entries})
    params = mapping.to_variables(entries, tensors, "it")["params"]
    weight, kernel = tensors["encoder.3.weight"], params["conv_1"]["kernel"]
    assert kernel[2, 0, 1, 3] == weight[3, 1, 2, 0]
    weight, kernel = tensors["decoder.6.weight"], params["up_0"]["kernel"]
    assert kernel[3, 1, 2, 0] == weight[2, 0, 3, 1]
    height, width, channels = 4, 2, 5
    for c, h, w in [(0, 0, 1), (4, 3, 0), (2, 1, 1)]:
        column, row = (c * height + h) * width + w, (h * width + w) * channels + c
        assert params["to_latent"]["kernel"][row, 3] == tensors["encoder.10.weight"][3, column]
        assert params["from_latent"]["kernel"][3, row] == tensors["decoder.0.weight"][column, 3]
        assert params["from_latent"]["bias"][row] == tensors["decoder.0.bias"][column]
    signal = table("msae")
    tensors = random_state_dict(published["msae"])
    params = mapping.to_variables(signal, tensors, "it")["params"]
    long = params["enc_long"]["mlp"]["linear_0"]["kernel"]  # 8 times, 32 channels
    assert long[5 * 32 + 30, 7] == tensors["enc_long.7.weight"][7, 30 * 8 + 5]


def test_every_fault_of_a_state_dict_is_in_one_error(published, random_state_dict) -> None:
    tensors = random_state_dict(published["conv"])
    del tensors["encoder.0.bias"], tensors["decoder.4.running_var"]
    tensors["module.encoder.3.bias"] = tensors["encoder.3.bias"]
    tensors["head.weight"] = np.zeros(3, np.float32)
    tensors["encoder.1.bias"] = tensors["encoder.1.bias"][:-1]
    tensors["encoder.4.num_batches_tracked"] = np.array(1.0)
    tensors["encoder.6.weight"] = tensors["encoder.6.weight"].astype(np.int32)
    with pytest.raises(InputError) as error:
        mapping.to_variables(table("conv"), tensors, "it")
    assert str(error.value) == (
        "it does not fit; missing: encoder.0.bias, decoder.4.running_var; unexpected: head.weight; "
        "doubled: encoder.3.bias (also as module.encoder.3.bias); "
        "wrong: encoder.1.bias has shape [31], expected [32], "
        "encoder.4.num_batches_tracked is float64, expected an integer, "
        "encoder.6.weight is int32, expected a float."
    )


def test_every_fault_of_variables_is_in_one_error(published, random_state_dict) -> None:
    entries = table("baseline")
    variables = mapping.to_variables(entries, random_state_dict(published["baseline"]), "it")
    encoder = variables["params"]["encoder"]
    del encoder["linear_0"]["bias"]
    encoder["linear_1"]["kernel"] = encoder["linear_1"]["kernel"].T
    encoder["linear_2"] = {"kernel": np.zeros((2, 2))}
    with pytest.raises(InputError) as error:
        mapping.to_state_dict(entries, variables, "it")
    for words in (
        "missing: params/encoder/linear_0/bias;",
        "unexpected: params/encoder/linear_2/kernel;",
        r"wrong: params/encoder/linear_1/kernel has shape [64, 128], expected [128, 64].",
    ):
        assert words in str(error.value)


def test_a_count_beyond_int32_is_refused(published, random_state_dict) -> None:
    tensors = random_state_dict(published["conv"])
    tensors["encoder.1.num_batches_tracked"] = np.array(2**31, np.int64)
    with pytest.raises(InputError, match="num_batches_tracked is 2147483648, expected 0 to"):
        mapping.to_variables(table("conv"), tensors, "it")


class Tiny(nn.Module):
    """A user's own model."""

    latent_dim: int = 2
    sample_shape = (12,)

    def setup(self) -> None:
        self.down, self.up = Linear(self.latent_dim), Linear(12)

    def encode(self, x: jax.Array) -> jax.Array:
        return self.down(x)

    def decode(self, z: jax.Array) -> jax.Array:
        return self.up(z)

    def __call__(
        self, x: jax.Array, *, key: jax.Array | None = None, train: bool = False
    ) -> Output:
        z = self.encode(x)
        return finish(x, z, self.decode(z), "identity")


def test_a_users_table_is_all_that_it_takes(random_state_dict, same_bits) -> None:
    layout = Layout(lambda model: (Layer("enc", "down"), Layer("dec", "up")))
    entries = mapping.table(layout, Tiny())
    shapes = {"enc.weight": (2, 12), "enc.bias": (2,), "dec.weight": (12, 2), "dec.bias": (12,)}
    assert {e.key: e.shape for e in entries} == shapes
    tensors = random_state_dict(shapes)
    variables = mapping.to_variables(entries, tensors, "it")
    np.testing.assert_array_equal(variables["params"]["down"]["kernel"], tensors["enc.weight"].T)
    assert same_bits(mapping.to_state_dict(entries, variables, "it"), tensors)


def test_a_table_that_does_not_cover_the_model_says_where() -> None:
    layout = Layout(lambda model: (Layer("enc", "down"), Layer("enc", "down"), Layer("a", "b")))
    with pytest.raises(InputError) as error:
        mapping.table(layout, Tiny())
    for words in (
        "layout lists twice: enc.weight, enc.bias, params/down/kernel, params/down/bias;",
        "params/up/kernel",
        "names modules that it does not have: b",
    ):
        assert words in str(error.value)


def test_counts_of_batches_that_old_files_lack_are_zero(published, random_state_dict) -> None:
    """As `load_state_dict(strict=True)` has it; any other key has to be there."""
    model = models.build(ModelConfig("conv"))
    entries = mapping.table(models.find_layout("conv"), model)
    tensors = random_state_dict(published["conv"])
    old = {key: array for key, array in tensors.items() if "num_batches" not in key}
    assert len(tensors) - len(old) == 5
    variables = mapping.to_variables(entries, old, "the test")
    back = mapping.to_state_dict(entries, variables, "the test")
    assert list(back) == list(tensors)
    for key, array in back.items():
        expected = old.get(key, np.array(0, np.int64))
        assert array.dtype == expected.dtype
        np.testing.assert_array_equal(array, expected)
    del old["encoder.1.running_var"]
    with pytest.raises(InputError, match=r"missing: encoder\.1\.running_var\.$"):
        mapping.to_variables(entries, old, "the test")
