"""Our models go through `.pt2`, too, and agree there with their own tables, bit for bit."""

from __future__ import annotations

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msae_jax import models
from msae_jax.config import ModelConfig
from msae_jax.interop import load_pt2, mapping
from tests.interop.test_verify import SIZES, swept

torch = pytest.importorskip("torch", reason="PyTorch is not installed (the torch extra)")

pytestmark = pytest.mark.usefixtures("all_quick_to_compile")

jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


class Plain(torch.nn.Module):
    """A reference that returns its reconstruction alone."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x).recon


@swept(SIZES)
def test_a_model_of_ours_is_the_same_as_a_program(name, tmp_path):
    model = models.build(ModelConfig(name, SIZES[name]))
    variables = models.init_variables(model, jax.random.key(0), model.sample_shape)
    variables = jax.tree.map(np.asarray, dict(variables))
    entries = mapping.table(models.find_layout(name), model)
    tensors = mapping.to_state_dict(entries, variables, name)
    module = models.reference(name, model).eval()
    module.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in tensors.items()})
    x = np.random.default_rng(0).random((5, *model.sample_shape), np.float32)
    theirs = np.ascontiguousarray(np.moveaxis(x, -1, 1)) if x.ndim > 2 else x
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        free = {0: torch.export.Dim.AUTO}
        example = (torch.from_numpy(theirs[:3]),)
        program = torch.export.export(Plain(module), example, dynamic_shapes=(free,))
        torch.export.save(program.run_decompositions({}), tmp_path / "m.pt2")
    opened = load_pt2(tmp_path / "m.pt2", recon=0)
    back = opened.module.tensors.state_dict(opened.variables)
    assert list(back) == [f"inner.{key}" for key in tensors]
    for key, array in tensors.items():
        kept = back[f"inner.{key}"]
        assert (kept.dtype, kept.tobytes()) == (array.dtype, array.tobytes())
    found = jit(opened.module.apply)(opened.variables, jnp.asarray(x)).recon
    wanted = jit(model.apply)(variables, jnp.asarray(x)).recon
    apart = np.linalg.norm(np.asarray(found).ravel() - np.asarray(wanted).ravel())
    assert apart <= 1e-5 * np.linalg.norm(np.asarray(wanted))
