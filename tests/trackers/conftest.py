from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from msae_jax.config import ModelConfig, TrainConfig
from msae_jax.data import Dataset
from msae_jax.fitting.loop import fit
from msae_jax.trackers.feeding import following

OWN = "tests.trackers.own:Own"


@pytest.fixture(scope="session")
def settings(signals: Dataset, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """A small model on images [N, 8, 8, 1] in a file, so that reconstructions are pictures."""
    path = tmp_path_factory.mktemp("data") / "x.npy"
    np.save(path, (signals.train.x[:, :64].reshape(-1, 8, 8, 1) + 1) / 2)
    model = ModelConfig("baseline-mlp", {"hidden": [8], "latent_dim": 2})
    return TrainConfig(model, data=str(path), batch_size=64, epochs=3)


@pytest.fixture(scope="session")
def importable() -> Iterator[None]:
    """Lets the processes of trackers import these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        yield


@pytest.fixture(scope="session")
def run(settings: TrainConfig, importable: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two seeds and three epochs that was logged to a tracker of one's own."""
    out = tmp_path_factory.mktemp("runs") / "small"
    with following([OWN], out) as on_epoch:
        fit(settings, seeds=2, out=out, on_epoch=on_epoch)
    return out
