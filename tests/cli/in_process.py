"""Runs commands without a process of their own, which would start JAX again."""

from __future__ import annotations

import sys
from pathlib import Path

from msae_jax import cli


def msae(*args: str | Path | int) -> int:
    """Runs a command in this process and returns its exit status."""
    argv = sys.argv
    sys.argv = ["msae", *map(str, args)]
    try:
        return cli.main()
    finally:
        sys.argv = argv
