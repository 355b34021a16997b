"""A trained model that is sampled: its prior, its data, and what is measured of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msae_jax.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from msae_jax import weights as w
    from msae_jax.data import Dataset
    from msae_jax.generation import Prior, Reference

BOUND_SAMPLES, BOUND_LATENTS = 500, 50
"""Test samples, and latents of each, of which the bounds of the likelihood are computed."""


class Sampling:
    """A model with its prior, and the data that both were made of, read when they are needed."""

    def __init__(
        self, loaded: w.Weights, path: Path, data: str | None, data_dir: Path | None,
        classes: str | None, prior: str | None, random_seed: int,
    ) -> None:  # fmt: skip
        from msae_jax import config
        from msae_jax.generation.sampling import classes_of, is_variational
        from msae_jax.runs import directory

        self.loaded, self.path, self.own = loaded, path, data is None
        if loaded.facts is not None and loaded.facts.series is not None:
            raise InputError(
                f"{path} was trained on windows of a series: msae augment makes new ones of them."
            )
        settings = config.override(loaded.config, {} if data is None else {"data": data})
        directory.check_named(settings)
        self.name, self.data_dir, self.random_seed = settings.data, data_dir, random_seed
        self._dataset: Dataset | None = None
        self.count = classes_of(loaded.model)
        self.classes = _classes(classes, self.count, loaded.config.model.name)
        self.variational = is_variational(loaded)
        kind = prior or ("standard" if self.variational else "gaussian")
        if kind == "standard" and not self.variational:
            warn(
                f"{loaded.config.model.name} has no posterior: its latents are N(0, I) only if "
                "another term of its objective made them so"
            )
        self.prior = self._prior(kind)

    def dataset(self) -> Dataset:
        """Returns the data of the model, checked against those that it was trained on."""
        if self._dataset is None:
            from msae_jax import weights as w

            part = w.split(
                self.name, "train", self.data_dir, trained_on=self.loaded.facts, own=self.own
            )
            w.check_channel_order(self.path, self.loaded.model, part.split.x)
            for sentence in part.odd:
                warn(sentence)
            self._dataset = part.dataset
        return self._dataset

    def _prior(self, kind: str) -> Prior:
        from msae_jax import generation
        from msae_jax.generation.sampling import latent_dim_of
        from msae_jax.train.evaluation import embed

        size = latent_dim_of(self.loaded)
        if kind == "standard" and size is not None:
            return generation.standard(size)
        z = embed(self.loaded.model, self.loaded.variables, self.dataset().train.x)
        return generation.fit_prior(z, kind, self.random_seed)

    def shape(self) -> tuple[int, ...] | None:
        """Returns the shape of a sample, as the data have it where that is known."""
        if self.count:
            own = getattr(self.loaded.model, "image_shape", None)
            return self._without_classes().sample_shape if own is None else own
        facts = self.loaded.facts
        if facts is not None and self.own:
            return facts.shape
        read = self._dataset is not None or not self.own
        return self.dataset().sample_shape if read else None

    def _without_classes(self) -> Dataset:
        from msae_jax import data
        from msae_jax.data.catalog import CONDITIONAL

        if not self.name.startswith(CONDITIONAL):
            return self.dataset()
        inner = type(self.name)(self.name.removeprefix(CONDITIONAL))
        return data.load(inner, data_dir=self.data_dir)

    def draw(self, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Returns n samples, their latents, and their classes where they have such."""
        import numpy as np

        from msae_jax import generation

        y = np.resize(np.array(self.classes, np.int32), n) if self.count else None
        found = generation.sample(
            self.loaded, n, self.prior, self.random_seed, y=y, sample_shape=self.shape()
        )
        return found.x, found.z, y

    def reference(self, classifier: str | None, n: int | None) -> Reference:
        """Returns test samples to measure against, of the classes that are made."""
        import numpy as np

        from msae_jax import generation
        from msae_jax.data import Split
        from msae_jax.data.dataset import take
        from msae_jax.generation import classifiers

        plain = self._without_classes()
        name = classifier or plain.name
        if classifier is None and name not in classifiers.names():
            raise InputError(
                f"there is no classifier of {name}: name one whose features suit, --classifier "
                f"{', '.join(classifiers.names())}."
            )
        real = plain.test
        if self.count and real.y is not None:
            rows = np.flatnonzero(np.isin(real.y, self.classes))
            real = Split(take(real.x, rows), real.y[rows])
        return generation.reference(name, real, n)

    def measures(self, reference: Reference, x: np.ndarray, y: np.ndarray | None) -> dict[str, Any]:
        """Returns what samples are like, and what the model and the prior say of test samples."""
        import numpy as np

        from msae_jax import analysis
        from msae_jax.data.dataset import take

        model, variables = self.loaded.model, self.loaded.variables
        test = self.dataset().test.x
        z = analysis.embed(model, variables, test)
        found: dict[str, Any] = {
            "classifier": reference.classifier.name, "accuracy": reference.accuracy,
            "samples": reference.measure(x, y)._asdict(), "real": reference.floor._asdict(),
            "prior_nats": float(self.prior.log_density(z).mean()), "test": len(test),
        }  # fmt: skip
        if self.variational:
            some = take(test, np.arange(min(len(test), BOUND_SAMPLES)))
            likelihood = self.loaded.config.objective.likelihood
            bounds = analysis.bounds(model, variables, some, BOUND_LATENTS, likelihood=likelihood)
            found["bounds"] = {
                "negative_elbo": -float(bounds.elbo.mean()),
                "importance_weighted": -float(bounds.log_likelihood.mean()),
                "k": BOUND_LATENTS, "n": len(some), "likelihood": likelihood,
            }  # fmt: skip
        return found


def _classes(text: str | None, count: int, model: str) -> list[int]:
    if not count:
        if text is not None:
            raise InputError(f"{model} is given no class: leave --classes out.")
        return []
    if text is None:
        return list(range(count))
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) < count for part in parts):
        raise InputError(f"--classes must be numbers from 0 to {count - 1}, as 0,3,7, got {text}.")
    return [int(part) for part in parts]


def warn(sentence: str) -> None:
    """Prints a warning."""
    print(f"msae: warning: {sentence}.", file=sys.stderr)
