"""The rows of the ledger that the study of generation gives, and its verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from msae_jax.experiments.generation_data import Images
from msae_jax.experiments.generation_measures import BOUNDS, BySeed
from msae_jax.experiments.generation_methods import CONTENDERS, METHODS, Contender, run_name
from msae_jax.experiments.generation_verdicts import Ranking, costs, named, rank, sentence
from msae_jax.experiments.study import final_claim, ours_alone
from msae_jax.fitting.ensemble import Ensemble
from msae_jax.results.claims import Claim

MEASURES = {
    "frechet": ("Fréchet distance", "squared feature distance"),
    "precision": ("precision", "share"),
    "recall": ("recall", "share"),
    "density": ("density", "balls of real ones / k"),
    "coverage": ("coverage", "share"),
}
BEST_BY = "frechet"
"""The measure that says who is best; it sees both how good and how varied samples are."""

BASE = "ae"
"""The method whose error of reconstruction the others are held against."""

WORDS = {contender.id: contender.words for contender in CONTENDERS}
DUELS = {
    "adversarial_nats": "what the model loses to its discriminator, last epoch",
    "discriminator_nats": "cross-entropy of the discriminator, last epoch",
}


@dataclass(frozen=True)
class Studied:
    """A data set, with the runs on it and what was measured of them, each by method."""

    key: str
    images: Images
    quick: bool
    trained: Mapping[str, Ensemble]
    found: Mapping[str, BySeed]

    def errors(self) -> dict[str, dict[int, float]]:
        """Returns the error of reconstruction by method and seed."""
        return {
            method: {seed: one["mse"] for seed, one in of.items()}
            for method, of in self.found.items()
        }

    def of(self, contender: Contender, measure: str) -> dict[int, float]:
        """Returns a measure of a contender's samples by seed."""
        by_seed = self.found[contender.method].items()
        return {seed: one["priors"][contender.prior][measure] for seed, one in by_seed}

    def floor(self, measure: str) -> list[float]:
        """Returns a measure of real images by seed, of the method that has most of them."""
        most = max(self.found.values(), key=len)
        return [one["floor"][measure] for one in most.values()]

    def measured_with(self) -> str:
        """Returns, in words, what the measures of samples depend on."""
        every = [one for of in self.found.values() for one in of.values()]
        if not every:
            return "every seed diverged"
        known = np.mean([one["accuracy"] for one in every])
        n, k = every[0]["floor"]["n"], every[0]["floor"]["k"]
        return (
            f"features of a classifier that recognises {known:.1%} of the test images; {n:,} "
            f"samples against {n:,}, k = {k}"
        )


def claims_of(studied: Studied) -> list[Claim]:
    """Returns all rows of a data set; the screen shows what the verdicts are about."""
    return [
        *_of_samples(studied),
        *_of_models(studied),
        *_of_likelihoods(studied),
        *_of_duels(studied),
    ]


def _of_samples(studied: Studied) -> list[Claim]:
    where, why, key = studied.images.words, studied.measured_with(), studied.key
    stated = []
    for measure, (words, unit) in MEASURES.items():
        detail = measure != BEST_BY
        for contender in CONTENDERS:
            text = f"{words} of samples of {named(contender.words)}, {where}"
            values = [*studied.of(contender, measure).values()]
            diverged = len(studied.trained[contender.method].diverged)
            id = f"{key}-{contender.id}-{measure}"
            stated.append(
                Claim(id, text, None, unit, values, why=why, diverged=diverged, detail=detail)
            )
        text = f"{words} of other real images, {where}"
        id, floor = f"{key}-real-{measure}", studied.floor(measure)
        stated.append(Claim(id, text, None, unit, floor, why=why, detail=detail))
    for method in [name for name, of in METHODS.items() if of.conditional]:
        values = [*studied.of(Contender(method, "standard"), "recognised").values()]
        name = named(METHODS[method].words)
        text = f"samples of {name} recognised as the class asked for, {where}"
        stated.append(ours_alone(f"{key}-{method}-recognised", text, "share", values, why))
    return stated


def _of_models(studied: Studied) -> list[Claim]:
    where, errors = studied.images.words, studied.errors()
    stated = []
    for method, values in errors.items():
        text = f"error of reconstructed test images, {METHODS[method].words}, {where}"
        diverged = len(studied.trained[method].diverged)
        id = f"{run_name(studied.key, method)}-mse"
        stated.append(Claim(id, text, None, "MSE per value", [*values.values()], diverged=diverged))
    for method, cost in costs(errors, BASE).items():
        name = named(METHODS[method].words)
        text = f"error of {name} above the autoencoder's, same seed, {where}"
        id = f"{run_name(studied.key, method)}-cost"
        stated.append(ours_alone(id, text, "percent", cost.percent, cost.why))
    return stated


def _of_likelihoods(studied: Studied) -> list[Claim]:
    """Returns the bounds of variational methods, and how well fitted priors fit."""
    where, nats = studied.images.words, "nats per image"
    count, latents = BOUNDS["quick" if studied.quick else "full"]
    of = {
        "negative_elbo": f"negative ELBO of {count:,} test images",
        "importance_weighted": f"the same from {latents} weighted latents of each",
    }
    stated = []
    for method in [name for name, chosen in METHODS.items() if chosen.variational]:
        for key, words in of.items():
            values = [one[key] for one in studied.found[method].values()]
            id = f"{run_name(studied.key, method)}-{key.replace('_', '-')}"
            text = f"{words}, {METHODS[method].words}, {where}"
            why = "cross-entropy of grey pixels, which is no normalised density"
            stated.append(Claim(id, text, None, nats, values, why=why, detail=True))
    for contender in [c for c in CONTENDERS if c.prior != "standard"]:
        values = [*studied.of(contender, "nats").values()]
        text = f"log density of latents of test images, {contender.words}, {where}"
        id = f"{studied.key}-{contender.id}-density-of-latents"
        stated.append(Claim(id, text, None, "nats per latent vector", values, detail=True))
    return stated


def _of_duels(studied: Studied) -> list[Claim]:
    """Returns what the players of adversarial methods lost at the end: log 2 is a draw."""
    stated = []
    for method in [name for name, chosen in METHODS.items() if chosen.adversarial]:
        for metric, words in DUELS.items():
            id = f"{run_name(studied.key, method)}-{metric.replace('_', '-')}"
            text = f"{words}, {METHODS[method].words}, {studied.images.words}"
            done = studied.trained[method]
            stated.append(
                final_claim(
                    id, text, done, f"train_{metric}", None, "nats per sample", detail=True,
                    why="0.693 where the discriminator cannot tell real from made",
                )
            )  # fmt: skip
    return stated


def verdict_of(studied: Studied) -> tuple[Claim, dict[str, Any], str] | None:
    """Returns who generates best on a data set: a row, JSON values, and sentences.

    None where there is one seed: one seed is never a result.
    """
    values = {contender.id: studied.of(contender, BEST_BY) for contender in CONTENDERS}
    ranking = rank(values)
    if ranking is None:
        return None
    where, quantity = studied.images.words, MEASURES[BEST_BY][0]
    said = [sentence(ranking, WORDS, quantity, where)]
    if METHODS[_method(ranking.best)].conditional:
        free = next(name for name in ranking.means if not METHODS[_method(name)].conditional)
        said.append(
            f"It is told the class; of the others {named(WORDS[free])} is lowest, "
            f"{ranking.means[free]:.4g}."
        )
    said.append(_cost_sentence(studied, ranking))
    text = " ".join(said)
    row = ours_alone(
        f"{studied.key}-best",
        f"of {len(ranking.means) - 1} others, those that the best generator is told from, {where}",
        "ways to generate",
        [float(len(ranking.beaten))],
        text,
    )
    return row, {"data": where, **ranking.to_dict(), "conclusion": text}, text


def _cost_sentence(studied: Studied, ranking: Ranking) -> str:
    means = {m: float(np.mean([*of.values()])) for m, of in studied.errors().items() if of}
    own, least = _method(ranking.best), min(means, key=lambda method: means[method])
    error = f"Its error of reconstruction is {means[own]:.4g} per value"
    if own == least:
        return f"{error}, the lowest of all methods."
    above = 100 * (means[own] / means[least] - 1)
    return (
        f"{error}, {above:.0f}% above the lowest, which {named(METHODS[least].words)} has with "
        f"{means[least]:.4g}."
    )


def _method(id: str) -> str:
    return next(contender.method for contender in CONTENDERS if contender.id == id)
