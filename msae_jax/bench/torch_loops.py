"""The training loops that a PyTorch user would write, from given weights. The `torch` extra."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from msae_jax import train
from msae_jax.config import TrainConfig
from msae_jax.interop import mapping, torch_models, torch_trace
from msae_jax.models import find_layout

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class _Loop:
    def __init__(
        self, settings: TrainConfig, task: train.Task, state: train.TrainState, *, fused: bool
    ) -> None:
        self._settings = settings
        model: Any = task.model
        self._noise_dim = model.latent_dim if hasattr(model, "posterior") else None
        entries = mapping.table(find_layout(settings.model.name), model)
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        variables = jax.tree.map(np.array, {k: v for k, v in variables.items() if v})
        weights = mapping.to_state_dict(entries, variables, "the weights")
        module = torch_models.build(settings.model.name, model)
        module.load_state_dict({key: torch.from_numpy(array) for key, array in weights.items()})
        self.module = module.to(DEVICE).train()
        self._call: Callable[..., torch_models.Result] = self.module
        rate = settings.optimizer.learning_rate
        self._optimizer = torch.optim.Adam(self.module.parameters(), lr=rate, fused=fused)

    def _batches(self) -> Iterator[torch.Tensor]:
        raise NotImplementedError

    def epoch(self) -> float:
        """Trains an epoch, and returns the mean loss of its batches."""
        total, steps = torch.zeros((), device=DEVICE), 0
        for batch in self._batches():
            noise = None
            if self._noise_dim is not None:
                noise = torch.randn(len(batch), self._noise_dim, device=DEVICE)
            self._optimizer.zero_grad(set_to_none=True)
            result = self._call(batch, noise)
            loss = torch_trace.objective(self._settings.objective, result, batch)
            loss.backward()
            self._optimizer.step()
            total, steps = total + loss.detach(), steps + 1
        return float(total) / steps


class Plain(_Loop):
    """A DataLoader over a TensorDataset, and Adam as it comes: PyTorch's own tutorials."""

    def __init__(
        self, settings: TrainConfig, task: train.Task, state: train.TrainState, x: np.ndarray
    ) -> None:
        super().__init__(settings, task, state, fused=False)
        dataset = TensorDataset(_tensor(task, x))
        self._loader = DataLoader(dataset, settings.batch_size, shuffle=True)

    def _batches(self) -> Iterator[torch.Tensor]:
        return (batch.to(DEVICE) for (batch,) in self._loader)


class Tuned(_Loop):
    """Samples in the device's memory, batches by index, fused Adam; or compiled, too."""

    def __init__(
        self,
        settings: TrainConfig,
        task: train.Task,
        state: train.TrainState,
        x: np.ndarray,
        *,
        compiled: bool = False,
    ) -> None:
        super().__init__(settings, task, state, fused=True)
        self._samples = _tensor(task, x).to(DEVICE)
        if compiled:
            self._call = torch.compile(self.module, dynamic=False)

    def _batches(self) -> Iterator[torch.Tensor]:
        order = torch.randperm(len(self._samples), device=DEVICE)
        return (self._samples[part] for part in order.split(self._settings.batch_size))


def _tensor(task: train.Task, x: np.ndarray) -> torch.Tensor:
    """Returns float32 samples in [0, 1]: [N, C, H, W], or [N, D] for models of flat samples."""
    model: Any = task.model
    unit = x.astype(np.float32) / (255 if x.dtype == np.uint8 else 1)
    images = len(model.sample_shape) == 3
    unit = np.moveaxis(unit, -1, 1) if images else unit.reshape(len(unit), -1)
    return torch.from_numpy(np.ascontiguousarray(unit))
