"""What an operator is told beside its arguments, and what it may return beside its value."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from msae_jax.errors import InputError


class Context(NamedTuple):
    """Of one node in one run.

    Attributes:
      key: the node's own PRNG key; None where the run has none.
      train: whether flags of training in the graph hold; else they are taken as False.
      masks: where dropout leaves what it multiplied by; None where nobody asks. Its output does not
        tell: where its input is 0, kept and dropped look the same.
    """

    key: jax.Array | None
    train: bool
    masks: list[jax.Array] | None = None

    def needed_key(self, what: str) -> jax.Array:
        """Returns the key.

        Raises:
          InputError: there is none.
        """
        if self.key is None:
            raise InputError(f"{what} draws random numbers: give a key (key=..., --seed).")
        return self.key


class Mutated(NamedTuple):
    """A value, and the new values of arguments that the operator changes in place, by name."""

    value: Any
    arguments: dict[str, Any]
