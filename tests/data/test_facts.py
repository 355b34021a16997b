"""What a run knows of its data: digests by hashlib alone, and differences by hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np
import pytest

from msae_jax.data import Dataset, Split, facts
from msae_jax.errors import InputError

RNG = np.random.default_rng(0)
UNIT = RNG.random((60, 4), np.float32)
IMAGES = RNG.integers(0, 256, (40, 3, 3, 1), dtype=np.uint8)
UNIT.flat[:2] = 0, 1
IMAGES.flat[:2] = 0, 255


def dataset(x: np.ndarray, cut: int = 30) -> Dataset:
    return Dataset("x", Split(x[:cut]), Split(x[cut:]))


class Behind:
    """A `Source` over an array."""

    def __init__(self, x: np.ndarray) -> None:
        self.x, self.shape, self.dtype = x, x.shape, x.dtype

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.x[index]

    def __getitems__(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        return self.x[np.asarray(indices)]


def test_they_hold_shape_range_counts_and_digest() -> None:
    got = facts.of(dataset(IMAGES))
    sha = hashlib.sha256(b"train uint8 [30, 3, 3, 1]\n" + IMAGES[:30].tobytes())
    sha.update(b"test uint8 [10, 3, 3, 1]\n" + IMAGES[30:].tobytes())
    low, high = float(IMAGES[:30].min()), float(IMAGES[:30].max())
    assert got == facts.Facts("uint8", (3, 3, 1), low, high, 30, 10, sha.hexdigest())


def test_the_range_is_that_of_the_training_part() -> None:
    x = np.zeros((10, 2), np.float32)
    x[0], x[9] = -2, 7
    assert (facts.of(dataset(x, 5)).low, facts.of(dataset(x, 5)).high) == (-2, 0)


def test_a_source_has_the_facts_of_its_array() -> None:
    streamed = Dataset("x", Split(Behind(IMAGES[:30])), Split(Behind(IMAGES[30:])))
    assert facts.of(streamed) == facts.of(dataset(IMAGES))


def test_large_sets_are_sampled_evenly_wherever_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "LOOKED_AT", 9 * 16)
    monkeypatch.setattr(facts, "CHUNK", 4 * 16)
    whole = facts.of(dataset(UNIT))
    streamed = Dataset("x", Split(Behind(UNIT[:30])), Split(Behind(UNIT[30:])))
    assert facts.of(streamed) == whole
    ends = UNIT.copy()
    ends[29] += 0.5  # the last training sample is always among them
    assert facts.of(dataset(ends)).digest != whole.digest
    between = UNIT.copy()
    between[1] += 0.5  # of 30 every fourth or so is looked at, this one is not
    assert facts.of(dataset(between)).digest == whole.digest


def test_json_and_back() -> None:
    known = facts.of(dataset(UNIT))
    assert facts.Facts.from_dict(json.loads(json.dumps(known.to_dict()))) == known
    for wrong in [{}, known.to_dict() | {"train": "30"}, known.to_dict() | {"shape": 4}]:
        with pytest.raises(InputError, match="no facts of a data set"):
            facts.Facts.from_dict(wrong)


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (np.concatenate([UNIT, UNIT[:10]]), "there were 30 training and 30 test samples"),
        (UNIT[:, :3], r"samples had shape [4] and have [3]"),
        ((UNIT * 255).astype(np.uint8), "values were float32 and are uint8"),
        (UNIT + np.float32(0.5), "since the run began: values differ"),
    ],
)
def test_changed_data_are_named(now: np.ndarray, message: str) -> None:
    got = facts.changed(facts.of(dataset(UNIT)), facts.of(dataset(now)))
    assert got is not None
    assert message in got
    assert facts.changed(facts.of(dataset(now)), facts.of(dataset(now.copy()))) is None


def test_one_bit_changes_the_digest() -> None:
    flipped = UNIT.copy()
    flipped.view(np.uint8)[45, 3] ^= 1
    assert facts.changed(facts.of(dataset(UNIT)), facts.of(dataset(flipped))) is not None


@pytest.mark.parametrize(
    ("trained", "given", "message"),
    [
        (IMAGES, IMAGES.astype(np.float32), "from 0 to 255, the model was trained on 0 to 1"),
        (IMAGES.astype(np.float32), IMAGES, "from 0 to 1 only, the model was trained on 0 to 255"),
        (UNIT, UNIT[:, :3], r"the samples have shape [3], the model was trained on [4]"),
        (UNIT, UNIT - 2, "the values range from -2 to -1"),
    ],
)
def test_other_samples_are_named(trained: np.ndarray, given: np.ndarray, message: str) -> None:
    (got,) = facts.against(facts.of(dataset(trained)), given)
    assert message in got
    assert len(got.splitlines()) == 1


@pytest.mark.parametrize(
    "given", [IMAGES, IMAGES / np.float32(255), IMAGES[:1] // 9, Behind(IMAGES)]
)
def test_samples_of_the_same_kind_pass(given: np.ndarray) -> None:
    assert facts.against(facts.of(dataset(IMAGES)), given) == []


def test_what_a_bernoulli_likelihood_needs() -> None:
    known = facts.of(dataset(UNIT))
    signed = UNIT - np.float32(0.2)
    assert facts.against(known, signed) == []
    (got,) = facts.against(known, signed, unit=True)
    assert "the model needs values in [0, 1]" in got
    assert facts.against(known, UNIT, unit=True) == []
