from __future__ import annotations

import math

import numpy as np
import pytest

from msae_jax.analysis.groups import group_effect, rank_agreement
from msae_jax.errors import InputError

APART = {"a": [1.0, 2.0, 3.0], "b": [2.0, 3.0, 4.0], "c": [5.0, 6.0, 7.0]}


def test_effect_of_groups_by_hand() -> None:
    """26 of the 32 squares lie between; F = (26 / 2) / (6 / 6), whose p has a closed form."""
    effect = group_effect(APART)
    assert effect.means == {"a": 2.0, "b": 3.0, "c": 6.0}
    assert effect.f == pytest.approx(13)
    assert effect.p_anova == pytest.approx((1 + 2 * 13 / 6) ** -3)
    # ranks 1, 2.5, 4.5 | 2.5, 4.5, 6 | 7, 8, 9, with two ties of two
    h = (12 / 90 * (8**2 + 13**2 + 24**2) / 3 - 30) / (1 - 12 / 720)
    assert (effect.h, effect.p_kruskal) == pytest.approx((h, math.exp(-h / 2)))
    assert (effect.eta_squared, effect.eta_squared_by_chance) == pytest.approx((26 / 32, 2 / 8))
    assert effect.seed_std == pytest.approx(1)
    assert effect.differ
    text = effect.sentence("nats")
    assert text.startswith("The 3 configurations differ by more than seed noise (ANOVA p = 0.0066")
    assert "81% of the variance" in text
    assert "the best mean (a) to the worst (c) it is 4 nats" in text


def test_groups_of_one_distribution_do_not_differ() -> None:
    """At 5%, by design in about 5% of the draws; eta^2 is what chance gives, on average."""
    rng = np.random.default_rng(0)
    drawn = [group_effect(dict(enumerate(rng.normal(size=(6, 3))))) for _ in range(300)]  # type: ignore[arg-type]
    assert np.mean([effect.differ for effect in drawn]) == pytest.approx(0.05, abs=0.04)
    assert np.mean([e.eta_squared for e in drawn]) == pytest.approx(5 / 17, abs=0.03)
    same = next(effect for effect in drawn if not effect.differ)
    assert "do not differ by more than seed noise" in same.sentence("nats")


@pytest.mark.parametrize(
    "values",
    [{"a": [1.0, 2.0]}, {"a": [1.0, 2.0], "b": [1.0]}, {"a": [1.0, 2.0], "b": [1.0, math.nan]}],
)
def test_too_little_to_compare(values: dict[str, list[float]]) -> None:
    with pytest.raises(InputError, match="two or more finite values"):
        group_effect(values)
    with pytest.raises(InputError, match="no configuration varies"):
        group_effect({"a": [1.0, 1.0], "b": [2.0, 2.0]})


def test_rankings() -> None:
    a = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0]
    same, reverse = rank_agreement(a, np.exp(np.array(a) / 10).tolist()), rank_agreement(a, a[::-1])
    assert (same.spearman, same.p, same.agree) == (pytest.approx(1), pytest.approx(2 / 720), True)
    assert (reverse.spearman, reverse.agree) == (pytest.approx(-1), False)
    assert rank_agreement([1, 2, 3], [2, 1, 3]).spearman == pytest.approx(0.5)
    with pytest.raises(InputError, match="same 3 to 8"):
        rank_agreement([1, 2], [1, 2])
