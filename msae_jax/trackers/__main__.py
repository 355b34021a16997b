"""The process that feeds one tracker: `python -m msae_jax.trackers TRACKER FOLDER`.

It goes on until its standard input ends, which happens when the training process ends, too.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

from msae_jax.trackers import PATIENCE, feeder


def main() -> int:
    name, folder = sys.argv[1], Path(sys.argv[2])
    if hasattr(os, "nice"):
        os.nice(10)  # training comes first
    ended = threading.Event()

    def wait() -> None:
        sys.stdin.buffer.read()
        ended.set()
        time.sleep(PATIENCE)
        os._exit(1)  # nobody waits for it any longer

    threading.Thread(target=wait, daemon=True).start()
    return feeder.feed(name, folder, ended)


if __name__ == "__main__":
    sys.exit(main())
