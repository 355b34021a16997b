"""Arrays and names as text that an HTML page can hold."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

KINDS = {"f": "float32", "i": "int32", "u": "int32", "b": "bool"}
"""What each kind of NumPy's becomes; uint8 stays, and float64 where it is asked for."""


def packed(array: Any, dtype: str | None = None) -> dict[str, Any]:
    """Returns an array as `dtype`, `shape` and `data`: its bytes, compressed and in base64.

    Whole numbers beyond int32, which stand for "to the end" in a slice, become the nearest int32.
    """
    array = np.asarray(array)
    kind = dtype or ("uint8" if array.dtype == np.uint8 else KINDS[array.dtype.kind])
    if kind == "int32":
        limits = np.iinfo(np.int32)
        array = np.clip(array, limits.min, limits.max)
    content = np.ascontiguousarray(array, dtype=f"<{np.dtype(kind).str[1:]}").tobytes()
    return {
        "dtype": kind,
        "shape": list(array.shape),
        "data": base64.b64encode(zlib.compress(content, 6)).decode("ascii"),
    }


def as_json(values: Mapping[str, Any]) -> str:
    """Returns JSON that may stand in a `<script>` element, whatever names it holds.

    Every `<`, `>` and `&` in it is written as an escape, so that no text can end the element.
    """
    text = json.dumps(values, allow_nan=False, separators=(",", ":"))
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text
