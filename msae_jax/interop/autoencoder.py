"""A PyTorch program as one of our autoencoders: channels last, with encoder and decoder."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np

from msae_jax.errors import InputError
from msae_jax.interop import anew
from msae_jax.interop.exported import Exported
from msae_jax.interop.files.pt2_values import Free
from msae_jax.interop.roles import ROLES, cuts, resolved
from msae_jax.models.output import Output

Role = int | str | None


class Autoencoder(Exported):
    """A program of one input that reconstructs it.

    Samples are shaped as the program has them, or as this library has them: images `[H, W, C]` or
    `[H, W]` of a program that reads `[C, H, W]`, series `[T, C]` of one that reads `[C, T]`. A
    program of flat samples reads them as PyTorch flattens them, channels first.

    Attributes:
      recon, logits, z, mu, log_var: which value is what; see `interop.roles`. By default what is
        certain.
      begin: what training starts from: the `file`'s weights, or drawn `anew` for each seed as
        PyTorch draws them (`interop.anew`).
    """

    recon: Role = None
    logits: Role = None
    z: Role = None
    mu: Role = None
    log_var: Role = None
    begin: Literal["file", "anew"] = "file"

    fixed_fields: ClassVar[tuple[str, ...]] = ("computation", "tensors", "training")
    """Of the file, and no options."""
    mixes_samples: ClassVar[bool] = True
    """A program may have a fixed batch, or outputs that depend on all samples of one."""

    def __post_init__(self) -> None:
        if self.begin not in ("file", "anew"):
            raise InputError(f"begin is file or anew, got {self.begin!r}.")
        super().__post_init__()

    @staticmethod
    def series_sizes(sample_shape: tuple[int, ...]) -> dict[str, Any]:
        """Returns no fields: the program fixes what series it takes."""
        return {}

    def start(self) -> dict[str, Any]:
        """Returns the variables that training starts from.

        Raises:
          InputError: none is trained, or they are to be drawn anew and the file does not tell how.
        """
        if not self.tensors.parameters:
            raise InputError(
                f"{self.computation.source} has nothing to train: it has no parameters, or all "
                "have requires_grad=False."
            )
        if self.begin == "file":
            return super().start()
        both = [self.computation, *([] if self.training is None else [self.training])]
        return anew.variables(both, self.tensors, self.make_rng("params"))

    def values(self, train: bool = False) -> dict[str, str]:
        """Returns the names in the graph of the values that have roles."""
        computation = self.graph_for(train)
        named = {role: getattr(self, role) for role in ROLES if getattr(self, role) is not None}
        found = resolved(computation.graph, named, computation.source)
        if train or self.training is None or {"mu", "log_var"} <= set(found):
            return found
        return found | self._outputs_alike()

    def _outputs_alike(self) -> dict[str, str]:
        """Returns the posterior among the outputs that has the places of that in training mode.

        A module that samples latents in training mode alone shows only there which it is.
        """
        trained = self.values(train=True)
        ours, theirs = self.computation.graph.output_names, self.graph_for(True).graph.output_names
        both = dict(zip(theirs, ours, strict=False))
        found = {role: both.get(trained.get(role)) for role in ("mu", "log_var")}
        return {} if None in found.values() else {k: v for k, v in found.items() if v is not None}

    def __call__(  # type: ignore[override]  # of one input
        self,
        x: jax.Array,
        *,
        key: jax.Array | None = None,
        train: bool = False,
    ) -> Output:
        """Computes reconstructions and latents of samples `[B, ...]`; see `Exported`."""
        values = self.values(train)
        found = self.computed(
            (self.as_program(x),), key=key, train=train, kept=tuple(values.values())
        ).values
        parts = {role: found[name] for role, name in values.items()}
        self._check_posterior(parts)
        if "logits" in parts and "recon" not in parts:
            parts["recon"] = jax.nn.sigmoid(parts["logits"])
        if "recon" not in parts:
            raise InputError(
                f"{self.computation.source} has no output that is certainly the reconstruction: "
                "say which one is, --set recon=0 (an output's number from 0, or a module's path)."
            )
        return Output(
            recon=self.as_samples(parts["recon"], x.shape[1:]),
            z=_flat(parts.get("z")),  # type: ignore[arg-type]  # None where it is not certain
            logits=self.as_samples(parts["logits"], x.shape[1:]) if "logits" in parts else None,
            mu=_flat(parts.get("mu")),
            log_var=_flat(parts.get("log_var")),
        )

    def _check_posterior(self, parts: dict[str, jax.Array]) -> None:
        """Raises InputError where mean and log variance do not belong together."""
        if "log_var" not in parts:
            return
        source = self.computation.source
        if "mu" not in parts:
            raise InputError(f"{source}: log_var is given without mu: say both, --set mu=1.")
        mu, log_var = parts["mu"].shape, parts["log_var"].shape
        if mu != log_var:
            raise InputError(
                f"{source}: mu has the shape {list(mu)} and log_var {list(log_var)}, which must be "
                "the same: say which values they are, --set mu=1 --set log_var=2."
            )

    def encode(self, x: jax.Array) -> jax.Array:
        """Returns the latents `[B, latent_dim]` of samples `[B, ...]`; of a posterior, its means.

        Raises:
          InputError: the latent is not certain and none is named.
        """
        z = self(x).z
        if z is None:
            raise InputError(self._no_latent())
        return z

    def decode(self, z: jax.Array) -> jax.Array:
        """Returns the reconstructions of latents `[B, latent_dim]`, shaped as the program has them.

        Raises:
          InputError: there is no one value through which the reconstruction hangs on the input.
        """
        values = self.values()
        if not self.is_cut():
            raise InputError(self._no_latent())
        name = values["z"]
        sizes = self.computation.graph.metas[name].sizes[1:]
        first = self.computation.graph.metas[self.computation.graph.user_inputs[0].name]
        dtype = jax.dtypes.canonicalize_dtype(first.dtype)
        x = jnp.zeros((z.shape[0], *self.sample_shape), dtype)
        given = {name: z.reshape(z.shape[0], *sizes)}
        target = values.get("recon", values.get("logits", ""))
        found = self.computed((x,), kept=(target,), given=given).values[target]
        return found if "recon" in values else jax.nn.sigmoid(found)

    def is_cut(self) -> bool:
        """Whether the program can be cut into an encoder and a decoder at the latent."""
        values = self.values()
        target = values.get("recon", values.get("logits"))
        return target is not None and values.get("z") in cuts(self.computation.graph, target)

    def _no_latent(self) -> str:
        return (
            f"{self.computation.source} has no value that is certainly the latent through which "
            "alone it reconstructs: say which one is, --set z=encoder (a module's path, or an "
            "output's number from 0)."
        )

    def as_program(self, x: jax.Array) -> jax.Array:
        """Returns samples `[B, ...]` as the program has them, in its dtype.

        Raises:
          InputError: they have another shape.
        """
        graph = self.computation.graph
        meta = graph.metas[graph.user_inputs[0].name]
        x = x.astype(jax.dtypes.canonicalize_dtype(meta.dtype))
        wanted, got = meta.sizes[1:], x.shape[1:]
        if _fits(wanted, got):
            return x
        if len(wanted) == len(got) and _fits(wanted, (got[-1], *got[:-1])):
            return jnp.moveaxis(x, -1, 1)
        if len(wanted) == len(got) + 1 and _fits(wanted, (1, *got)):
            return x[:, None]
        if len(got) == len(wanted) + 1 and got[-1] == 1 and _fits(wanted, got[:-1]):
            return x[..., 0]
        if len(wanted) == 1 and len(got) > 1 and _fits(wanted, (math.prod(got),)):
            moved = jnp.moveaxis(x, -1, 1) if _has_channels_last(got) else x
            return moved.reshape(x.shape[0], -1)
        if len(got) == 1 and all(isinstance(n, int) for n in wanted):
            shape = tuple(n for n in wanted if isinstance(n, int))
            if math.prod(shape) == got[0]:
                return x.reshape(x.shape[0], *shape)
        shown = [n if isinstance(n, int) else "any" for n in wanted]
        raise InputError(
            f"{self.computation.source} reads samples of the shape {_listed(shown)}, or that with "
            f"the channels last; these have {list(got)}."
        )

    def as_samples(self, y: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """Returns a reconstruction `[B, ...]`, as the program shapes it, as samples of a shape.

        It is the inverse of `as_program`.

        Raises:
          InputError: it has another number of values.
        """
        if math.prod(y.shape[1:]) != math.prod(shape):
            raise InputError(
                f"{self.computation.source}: the reconstruction has the shape {list(y.shape)}, "
                f"and samples have the shape {list(shape)}: say which output it is, --set recon=0."
            )
        sizes = self.computation.graph.metas[self.computation.graph.user_inputs[0].name].sizes[1:]
        if len(sizes) == 1:
            moved = _has_channels_last(shape)
        else:
            moved = not _fits(sizes, shape) and _fits(sizes, (shape[-1], *shape[:-1]))
        if not moved:
            return y.reshape(y.shape[0], *shape)
        return jnp.moveaxis(y.reshape(y.shape[0], shape[-1], *shape[:-1]), 1, -1)

    def state_dict(self, variables: Any) -> dict[str, np.ndarray]:
        """Returns PyTorch's state dict of variables; see `Tensors.state_dict`."""
        return self.tensors.state_dict(variables)


def _fits(sizes: tuple[int | Free, ...], shape: tuple[int, ...]) -> bool:
    return len(sizes) == len(shape) and all(
        isinstance(size, Free) or size == n for size, n in zip(sizes, shape, strict=True)
    )


def _has_channels_last(shape: tuple[int, ...]) -> bool:
    """Whether images [H, W, C] are given and not [C, H, W], where a channel is one of 1 or 3."""
    return len(shape) == 3 and not (shape[0] in (1, 3) and shape[-1] not in (1, 3))


def _listed(shown: list[Any]) -> str:
    return f"[{', '.join(map(str, shown))}]"


def _flat(value: jax.Array | None) -> jax.Array | None:
    return None if value is None else value.reshape(value.shape[0], -1)
