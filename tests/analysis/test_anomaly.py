from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msae_jax.analysis import anomaly_scores, detection, threshold
from msae_jax.errors import InputError
from msae_jax.models.output import Output, finish


class FirstTwo(nn.Module):
    """Keeps the first two of three values: the error is the third's square over three."""

    output: str = "identity"
    variational: bool = False

    def __call__(
        self, x: jax.Array, *, key: jax.Array | None = None, train: bool = False
    ) -> Output:
        z = x[:, :2]
        posterior = (z, jnp.zeros_like(z)) if self.variational else ()
        return finish(x, z, jnp.pad(z, ((0, 0), (0, 1))), self.output, *posterior)


X = np.array([[1, 2, 0], [1, 2, 3], [0, 0, -6]], np.float32)


def test_mse_is_the_residual() -> None:
    np.testing.assert_allclose(anomaly_scores(FirstTwo(), {}, X), [0, 3, 12], rtol=1e-6)


def test_nats_are_negative_log_likelihoods() -> None:
    """Gaussian by its density; Bernoulli by its cross-entropy; plus 1/2 |mu|^2 of a posterior of
    unit variance."""
    expected = 0.5 * np.array([0, 9, 36]) + 1.5 * np.log(2 * np.pi)
    got = anomaly_scores(FirstTwo(), {}, X, "nats", likelihood="gaussian")
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    got = anomaly_scores(FirstTwo(variational=True), {}, X, "nats", likelihood="gaussian")
    np.testing.assert_allclose(got, expected + np.array([2.5, 2.5, 0]), rtol=1e-6)
    x = np.array([[1, 0, 1]], np.float32)
    got = anomaly_scores(FirstTwo("sigmoid"), {}, x, "nats")
    sigmoid = 1 / (1 + np.exp(-1))
    np.testing.assert_allclose(got, [-np.log(sigmoid) + 2 * np.log(2)], rtol=1e-6)
    with pytest.raises(InputError, match="likelihood 'gaussian'"):
        anomaly_scores(FirstTwo(), {}, X, "nats")


def test_latent_distance_is_mahalanobis() -> None:
    """Normal latents about (0, 10), of variances 4 and 1 (divisor n - 1) and no covariance."""
    sides = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]]) * np.sqrt(1.5) * [2, 1] + [0, 10]
    normal = np.c_[sides, np.zeros(4)].astype(np.float32)
    x = np.array([[0, 10, 99], [6, 10, 0], [2, 13, 0]], np.float32)
    got = anomaly_scores(FirstTwo(), {}, x, "latent", normal=normal)
    np.testing.assert_allclose(got, [0, 3, np.sqrt(1 + 9)], atol=1e-5)


def test_latent_distance_leaves_out_what_never_varies() -> None:
    normal = np.array([[1, 5, 0], [-1, 5, 0]], np.float32)  # variance 2
    x = np.array([[2, 5, 0], [2, 8, 0]], np.float32)
    got = anomaly_scores(FirstTwo(), {}, x, "latent", normal=normal)
    np.testing.assert_allclose(got, [np.sqrt(2)] * 2, rtol=1e-6)
    with pytest.raises(InputError, match="needs normal="):
        anomaly_scores(FirstTwo(), {}, x, "latent")
    with pytest.raises(InputError, match="Did you mean 'mse'"):
        anomaly_scores(FirstTwo(), {}, x, "mser")


def test_threshold_is_a_quantile() -> None:
    scores = np.arange(101.0)[::-1]
    assert threshold(scores) == 95
    assert np.mean(scores > threshold(scores, 0.8)) == pytest.approx(20 / 101)
    with pytest.raises(InputError, match="between 0 and 1, got 95"):
        threshold(scores, 95)


def test_detection_by_hand() -> None:
    """Three of the four pairs are in order; precision is 1 at recall 1/2, and 2/3 at recall 1."""
    got = detection(np.array([1, 2, 3, 4]), np.array([0, 1, 0, 1]), threshold=2.5)
    assert got.auroc == 0.75
    assert got.auprc == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert (got.prevalence, got.recall, got.false_positive_rate) == (0.5, 0.5, 0.5)


def test_the_anomaly_is_the_positive_class() -> None:
    """Scores upside down; then equal ones, which tell nothing."""
    labels = np.array([False, False, False, True])
    good = detection(np.array([1, 2, 3, 9]), labels)
    assert (good.auroc, good.auprc, good.recall) == (1, 1, None)
    bad = detection(np.array([4, 3, 2, 1]), labels)
    assert (bad.auroc, bad.auprc) == (0, 0.25)
    none = detection(np.ones(4), labels)
    assert (none.auroc, none.auprc, none.prevalence) == (0.5, 0.25, 0.25)


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([1, 2], [0, 0], "only one of them"),
        ([1, 2], [0, 2], "booleans"),
        ([1, 2], [0, 1, 1], r"\[2\] and int64 \[3\]"),
        ([1, np.nan], [0, 1], "1 scores are not finite"),
    ],
)
def test_what_cannot_be_judged(scores: list, labels: list, message: str) -> None:
    with pytest.raises(InputError, match=message):
        detection(np.array(scores), np.array(labels))
