"""Variables of models without compiling the programs that draw initial ones."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import numpy as np

from msae_jax import models


def random_variables(model: nn.Module, seed: int = 0) -> dict[str, Any]:
    """Returns weights in PyTorch's initial range, and batch statistics that are positive."""
    rng, shape = np.random.default_rng(seed), model.sample_shape
    wanted = jax.eval_shape(lambda: models.init_variables(model, jax.random.key(0), shape))

    def drawn(low: float, tree: Any) -> Any:
        return jax.tree.map(lambda a: rng.uniform(low, 0.3, a.shape).astype(a.dtype), tree)

    return {kind: drawn(-0.3 if kind == "params" else 0.1, wanted[kind]) for kind in wanted}
