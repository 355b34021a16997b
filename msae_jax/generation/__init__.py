"""New samples of trained autoencoders, and how good they are: priors, sampling, measures.

Negative ELBO and importance-weighted bounds of variational models are `msae_jax.analysis.bounds`.
"""

from msae_jax.generation.classifiers import Classifier, classifier
from msae_jax.generation.measures import (
    Manifold,
    Measures,
    Reference,
    frechet_distance,
    manifold,
    reference,
)
from msae_jax.generation.priors import KINDS, Prior, fit_prior, standard
from msae_jax.generation.sampling import sample

__all__ = [
    "KINDS",
    "Classifier",
    "Manifold",
    "Measures",
    "Prior",
    "Reference",
    "classifier",
    "fit_prior",
    "frechet_distance",
    "manifold",
    "reference",
    "sample",
    "standard",
]
