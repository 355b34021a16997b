"""The metrics that every epoch logs."""

from __future__ import annotations

from typing import NamedTuple


class Metric(NamedTuple):
    """One number that an epoch logs of the training split and of the test split.

    Attributes:
      name: as logs have it, after `train_` or `test_`; `msae_jax.train.losses` computes it.
      words, unit: as tables print it.
    """

    name: str
    words: str
    unit: str


METRIC_KINDS = (
    Metric("loss", "loss", "as the objective has it"),
    Metric("nats", "nats", "nats per sample"),
    Metric("recon_nats", "reconstruction", "nats per sample"),
    Metric("kl_nats", "KL", "nats per sample"),
    Metric("mse", "MSE", "mean per value"),
)
"""All metrics, in the order of the logs; a new one is a row here and a field of `losses.Terms`."""

METRICS = {
    f"{split}_{metric.name}": metric for split in ("train", "test") for metric in METRIC_KINDS
}
"""By name, what every epoch logs; each can pick the best checkpoint or stop a run early."""

DUEL_METRICS = (
    Metric("adversarial_nats", "what the model loses to its discriminator", "nats per sample"),
    Metric("discriminator_nats", "cross-entropy of the discriminator", "nats per sample"),
)
"""What training with a discriminator logs beside them, of the training split alone: there is no
direction in which they are better, and so they pick and stop nothing."""
