"""The loops that a PyTorch user would write, from given weights. Needs the `torch` extra."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import torch
import torch.nn.functional as functional
from torch.utils.data import DataLoader, TensorDataset

from msae_jax import models, train
from msae_jax.config import Objective, TrainConfig
from msae_jax.interop import mapping
from msae_jax.interop.verification import torch_trace
from msae_jax.models import find_layout, torch_reference

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
NATS = Objective("bernoulli", "sum")


def build(
    settings: TrainConfig, task: train.Task, state: train.TrainState | None = None
) -> torch.nn.Module:
    """Returns the module with the weights of a state; without one, with PyTorch's own."""
    module = models.reference(settings.model.name, task.model)
    if state is not None:
        entries = mapping.table(find_layout(settings.model.name), task.model)
        variables = jax.tree.map(np.array, state.variables)
        weights = mapping.to_state_dict(entries, variables, "the weights")
        module.load_state_dict({key: torch.from_numpy(array) for key, array in weights.items()})
    return module.to(DEVICE)


class _Loop:
    """Trains a module from the weights of a state; without one, from PyTorch's own weights."""

    def __init__(
        self,
        settings: TrainConfig,
        task: train.Task,
        state: train.TrainState | None,
        x: np.ndarray,
        fused: bool = False,
        **adam: Any,
    ) -> None:
        self._settings = settings
        self._samples = _tensor(task, x)
        self.module = build(settings, task, state)
        with torch.inference_mode():
            mu = self.module.eval()(self._samples[:2].to(DEVICE)).mu
        self._noise_dim = None if mu is None else mu.shape[1]
        self._call: Callable[..., torch_reference.Result] = self.module
        rate = settings.optimizer.learning_rate
        self._optimizer = torch.optim.Adam(self.module.parameters(), lr=rate, fused=fused, **adam)
        self._low = settings.precision == "bfloat16"

    def _batches(self, order: np.ndarray | None) -> Iterator[torch.Tensor]:
        raise NotImplementedError

    def steps(
        self, order: np.ndarray | None = None
    ) -> Iterator[tuple[torch.Tensor, torch_reference.Result, torch.Tensor]]:
        """Trains an epoch; yields the batch, the result and the detached loss of each step."""
        self.module.train()
        for batch in self._batches(order):
            self._optimizer.zero_grad(set_to_none=True)
            result, loss = self._step(batch)
            yield batch, result, loss

    def epoch(self, order: np.ndarray | None = None) -> float:
        """Trains an epoch, in this order or shuffled; returns the mean loss of its batches."""
        total, steps = torch.zeros((), device=DEVICE), 0
        for _, _, loss in self.steps(order):
            total, steps = total + loss, steps + 1
        return float(total) / steps

    def _step(self, batch: torch.Tensor) -> tuple[torch_reference.Result, torch.Tensor]:
        """Trains a batch, where there are no gradients yet; returns the result and its loss."""
        noise = None
        if self._noise_dim is not None:
            noise = torch.randn(len(batch), self._noise_dim, device=DEVICE)
        result = self._autocast(batch, noise) if self._low else self._call(batch, noise)
        loss = torch_trace.objective(self._settings.objective, result, batch)
        loss.backward()
        self._optimizer.step()
        return result, loss.detach()

    def _autocast(self, batch: torch.Tensor, noise: torch.Tensor | None) -> torch_reference.Result:
        """Calls the module in PyTorch's mixed precision; what it returns is float32 again.

        No weight is used twice, so that a cache of rounded ones would serve nothing, and it must
        not be there while CUDA graphs are recorded.
        """
        with torch.autocast(DEVICE, torch.bfloat16, cache_enabled=False):
            result = self._call(batch, noise)
        parts = (None if part is None else part.float() for part in result)
        return torch_reference.Result._make(parts)


class Plain(_Loop):
    """A DataLoader over a TensorDataset, and Adam as it comes: PyTorch's own tutorials."""

    def _batches(self, order: np.ndarray | None) -> Iterator[torch.Tensor]:
        given: dict[str, Any] = {"shuffle": True} if order is None else {"sampler": order.tolist()}
        loader = DataLoader(TensorDataset(self._samples), self._settings.batch_size, **given)
        return (batch.to(DEVICE) for (batch,) in loader)


class Tuned(_Loop):
    """Samples in the device's memory, batches by index, fused Adam; or compiled, too."""

    def __init__(self, *args: Any, compiled: bool = False, **adam: Any) -> None:
        super().__init__(*args, **{"fused": True, **adam})
        self._samples = self._samples.to(DEVICE)
        if compiled:
            self._call = torch.compile(self.module, dynamic=False)

    def _order(self, order: np.ndarray | None) -> tuple[torch.Tensor, ...]:
        """Returns the indices of each batch."""
        if order is None:
            indices = torch.randperm(len(self._samples), device=DEVICE)
        else:
            indices = torch.from_numpy(order).to(DEVICE)
        return indices.split(self._settings.batch_size)

    def _batches(self, order: np.ndarray | None) -> Iterator[torch.Tensor]:
        return (self._samples[part] for part in self._order(order))


class Graphs(Tuned):
    """Whole steps, from the choice of samples to Adam, each one launch of a CUDA graph.

    A graph for full batches, and one for the short batch that ends an epoch.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args, capturable=True)
        self._total = torch.zeros((), device=DEVICE)
        self._graphs: dict[int, tuple[torch.Tensor, torch.cuda.CUDAGraph]] = {}

    def epoch(self, order: np.ndarray | None = None) -> float:
        parts = self._order(order)
        if not self._graphs:
            self._capture({len(part) for part in parts})
        self._total.zero_()
        for part in parts:
            indices, graph = self._graphs[len(part)]
            indices.copy_(part)
            graph.replay()
        return float(self._total) / len(parts)

    def _capture(self, sizes: set[int]) -> None:
        """Makes the graphs of these batch sizes; the weights stay as they were."""
        start = {key: value.clone() for key, value in self.module.state_dict().items()}
        for size in sizes:
            indices = torch.arange(size, device=DEVICE)
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(3):  # lets cuBLAS, cuDNN and Adam allocate what they keep
                    self._optimizer.zero_grad(set_to_none=True)
                    self._step(self._samples[indices])
            torch.cuda.current_stream().wait_stream(stream)
            self._optimizer.zero_grad(set_to_none=True)  # a replay writes gradients, adds to none
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._total.add_(self._step(self._samples[indices])[1])
            self._graphs[size] = indices, graph
        with torch.no_grad():  # in place: the graphs know where the weights and moments lie
            for key, value in self.module.state_dict().items():
                value.copy_(start[key])
            for moments in self._optimizer.state.values():
                for value in moments.values():
                    value.zero_()


class Eager:
    """Inference over samples in memory, batch by batch; results are NumPy arrays."""

    def __init__(
        self, module: torch.nn.Module, task: train.Task, x: np.ndarray, batch_size: int
    ) -> None:
        self._module: Any = module
        self._task, self._x, self._size = task, x, batch_size

    def _batches(self) -> Iterator[torch.Tensor]:
        self._module.eval()
        for start in range(0, len(self._x), self._size):
            yield _tensor(self._task, self._x[start : start + self._size]).to(DEVICE)

    @torch.inference_mode()
    def embed(self) -> np.ndarray:
        """Returns the latents `[N, latent_dim]`."""
        return torch.cat([self._module.encode(batch) for batch in self._batches()]).cpu().numpy()

    @torch.inference_mode()
    def reconstruct(self) -> np.ndarray:
        """Returns the reconstructions `[N, ...]`, channels last."""
        recon = torch.cat([self._module(batch).recon for batch in self._batches()])
        if recon.ndim > 2:
            recon = recon.movedim(1, -1).contiguous()
        return recon.cpu().numpy().reshape(self._x.shape)

    @torch.inference_mode()
    def evaluate(self) -> dict[str, float]:
        """Returns `mse` per pixel and, where the likelihood is Bernoulli, `nats` per sample.

        The error of a variational model is that of its posterior mean; the nats are of a sample.
        """
        objective = self._task.objective
        bernoulli = objective.likelihood == "bernoulli"
        totals = torch.zeros(2, device=DEVICE)
        for batch in self._batches():
            result = self._module(batch)
            totals[0] += functional.mse_loss(result.recon, batch) * len(batch)
            if bernoulli and result.mu is not None:
                result = self._module(batch, torch.randn_like(result.mu))
            if bernoulli:
                totals[1] += torch_trace.objective(NATS, result, batch)
        mse, nats = (totals / len(self._x)).tolist()
        return {"mse": mse, "nats": nats} if bernoulli else {"mse": mse}


def _tensor(task: train.Task, x: np.ndarray) -> torch.Tensor:
    """Returns float32 samples, channels first: [N, C, H, W], [N, C, T], or [N, D] for flat ones."""
    model: Any = task.model
    unit = np.divide(x, 255, dtype=np.float32) if x.dtype == np.uint8 else x
    channels = len(model.sample_shape) > 1
    unit = np.moveaxis(unit, -1, 1) if channels else unit.reshape(len(unit), -1)
    return torch.from_numpy(np.ascontiguousarray(unit))
