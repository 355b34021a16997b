"""The options of `msae train` for other tools: files of configuration, trackers, profiles."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from msae_jax.cli.settings import Added, with_options

if TYPE_CHECKING:
    from msae_jax.config import TrainConfig

ConfigFile = Annotated[
    Path | None, typer.Option(help="TOML or JSON, such as a run's config.json; options win.")
]
Log = Annotated[
    str | None, typer.Option(help="tensorboard,wandb,mlflow,trackio, package.module:Class.")
]
_OPTIONS = {
    "config": Added(ConfigFile),
    "log": Added(Log),
    "profile": Added(
        Annotated[bool, typer.Option("--profile", help="Write a profile of one epoch.")], False
    ),
    "deterministic": Added(
        Annotated[bool, typer.Option("--deterministic", help="The same bits on a GPU, too.")],
        False,
    ),
}


class Tools(NamedTuple):
    """What the options say.

    Attributes:
      config: a file of configuration. log: the names of trackers.
      profile: whether one epoch is profiled. deterministic: whether the bits are to be the same.
    """

    config: Path | None
    log: list[str]
    profile: bool
    deterministic: bool

    def note(self) -> None:
        """Prints what an option means on the devices that JAX has found."""
        from msae_jax.system import determinism

        if self.deterministic and (text := determinism.remark()):
            print(f"msae: note: {text}", file=sys.stderr)

    @contextlib.contextmanager
    def watching(
        self,
        settings: TrainConfig,
        out: Path,
        label: str,
        data_dir: Path | None,
        name: str | None = None,
    ) -> Iterator[Callable[[dict[str, Any]], None]]:
        """Shows, logs and profiles the epochs of the run that is trained in the block.

        Args:
          out: the run directory. label: of the progress bar.
          name: of the run in trackers, by default that of its directory.

        Yields:
          What the loop is to call after each epoch.
        """
        from msae_jax.system.progress import progress_bar

        with contextlib.ExitStack() as stack:
            calls = []
            if self.log:
                from msae_jax.trackers.feeding import following

                feed = following(self.log, out, name=name, data_dir=data_dir)
                calls.append(stack.enter_context(feed))
            calls.append(stack.enter_context(progress_bar(settings.epochs, label)))
            if self.profile:
                from msae_jax.system.profiling import profiled_epoch

                profiled = profiled_epoch(out / "profile", settings.epochs)
                calls.append(stack.enter_context(profiled))

            def on_epoch(metrics: dict[str, Any]) -> None:
                for call in calls:
                    call(metrics)

            yield on_epoch


def _tools(given: dict[str, Any]) -> Tools:
    from msae_jax import trackers
    from msae_jax.system import determinism

    if given["deterministic"]:
        determinism.ask()  # before JAX is used
    return Tools(**given | {"log": trackers.parse(given["log"])})


with_tools = with_options("tools", _OPTIONS, _tools)
"""Gives a command these options; it gets them as `tools`."""
