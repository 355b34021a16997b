"""Tidy tables: a row a result, as CSV and as JSON."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msae_jax.system.files import replacing


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Writes `path`.csv and `path`.json; columns in the order in which they first appear.

    What is missing or not finite is an empty field in CSV and null in JSON.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    clean = [{name: _finite(row.get(name)) for name in columns} for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        replacing(path.with_suffix(".csv"), overwrite=True) as temporary,
        temporary.open("w", newline="") as file,
    ):
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(clean)
    with replacing(path.with_suffix(".json"), overwrite=True) as temporary:
        temporary.write_text(json.dumps(clean, indent=1) + "\n")


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
