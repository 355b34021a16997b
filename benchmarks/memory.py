"""Peak resident size of one computation, in a process of its own."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from typing import Any


def peak() -> int:
    """Returns the peak resident size of this process, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB


def in_own_process(module: str, *arguments: str) -> dict[str, Any]:
    """Runs a module as a script and returns the JSON object that it prints last."""
    command = [sys.executable, "-m", module, *arguments]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, Any] = json.loads(text.splitlines()[-1])
    return found
