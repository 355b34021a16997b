"""What can happen to a file: bits, ranges, lengths, other files in its place, other values."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

CODE = "evil:Class"
"""A name whose import makes the sentinel; see `worker`."""

_VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 3, 2**31, 2**63, 10**400, 0.5, -0.0, 1e308, float("nan"),
    float("inf"), "", "x", CODE, "evil.Class", "\x1b[31mred", "../..", "a" * 1000, [], {}, [0],
    [[], {}], {"": None}, {"name": CODE},
)  # fmt: skip


def files(folder: Path) -> list[Path]:
    """Returns all files in an order that does not depend on names that are drawn anew each time."""
    found = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return sorted(found, key=lambda path: (str(path.parent), path.stat().st_size, path.name))


def damage(folder: Path, twin: Path, rng: np.random.Generator) -> str:
    """Damages one file of `folder`, and returns what was done.

    Args:
      twin: another input of the same kind, whose files may take the place of these.
    """
    kept = files(folder)
    pick = int(rng.integers(3))  # any byte, or so that those have their share which are few
    if pick == 1:
        kinds = sorted(set(map(_kind, kept)))
        kind = kinds[rng.integers(len(kinds))]
        kept = [path for path in kept if _kind(path) == kind]
    if pick == 2:
        depth = min(len(path.parts) for path in kept)
        kept = [path for path in kept if len(path.parts) == depth]
    sizes = np.array([path.stat().st_size + 1.0 for path in kept])
    path = kept[rng.choice(len(kept), p=sizes / sizes.sum() if pick == 0 else None)]
    where = path.relative_to(folder)
    if rng.random() < 0.12:
        return f"{where}: {_replaced(path, folder, twin, rng)}"
    raw = path.read_bytes()
    value = _as_json(raw)
    if value is not None and rng.random() < 0.5:
        path.write_text(json.dumps(edited(value, rng), indent=1))
        return f"{where}: a value of the JSON"
    digits = [i for i, byte in enumerate(raw) if 48 <= byte < 58]
    if value is not None and digits and rng.random() < 0.5:
        at = digits[rng.integers(len(digits))]
        path.write_bytes(raw[:at] + b"%d" % rng.integers(10) + raw[at + 1 :])
        return f"{where}: a digit"
    what, changed = mutated(raw, rng)
    path.write_bytes(changed)
    return f"{where}: {what}"


def _kind(path: Path) -> str:
    """Returns the suffix of a file, or its name, or, where Orbax names by chance, its folder's."""
    return path.suffix or (path.parent.name if len(path.name) == 32 else path.name)


def damage_alone(folder: Path, twin: Path, rng: np.random.Generator) -> str:
    """`damage` where another input of the same kind is as good: files without a digest outside."""
    return damage(folder, folder, rng)


def _replaced(path: Path, folder: Path, twin: Path, rng: np.random.Generator) -> str:
    others = [other for other in files(folder) if other != path]
    pick = rng.integers(4)
    same = twin / path.relative_to(folder)
    if pick == 0:
        path.unlink()
        return "deleted"
    if pick == 1 and others:
        other = others[rng.integers(len(others))]
        mine, theirs = path.read_bytes(), other.read_bytes()
        path.write_bytes(theirs)
        other.write_bytes(mine)
        return f"swapped with {other.relative_to(folder)}"
    rest = [other for other in others if path.parent not in other.parents]
    if pick == 2 and rest and (twin / path.parent.relative_to(folder)).is_dir():
        shutil.rmtree(path.parent)
        shutil.copytree(twin / path.parent.relative_to(folder), path.parent)
        return "its folder is another's"
    candidates = [same] if same.is_file() else files(twin)
    path.write_bytes(candidates[rng.integers(len(candidates))].read_bytes())
    return "another's"


def mutated(raw: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """Returns what was done to the bytes, and the bytes."""
    if not raw:
        return "bytes in an empty file", rng.bytes(int(rng.integers(1, 100)))
    at = int(rng.integers(len(raw)))
    if rng.random() < 0.3:  # headers and trailers are short, and matter most
        at = min(len(raw) - 1, int(rng.integers(64)))
    if rng.random() < 0.15:
        at = max(0, len(raw) - 1 - int(rng.integers(64)))
    size = int(2 ** rng.uniform(0, 8))
    before, piece, after = raw[:at], raw[at : at + size], raw[at + size :]
    pick = int(rng.integers(11))
    if pick <= 3:
        changed = bytearray(raw)
        for _ in range(1 if pick < 3 else int(rng.integers(2, 9))):
            changed[at] ^= 1 << int(rng.integers(8))
            at = int(rng.integers(len(raw)))
        return "bits flipped", bytes(changed)
    return {
        4: ("a range overwritten", before + rng.bytes(len(piece)) + after),
        5: ("a range zeroed", before + bytes(len(piece)) + after),
        6: ("a range removed", before + after),
        7: ("a range doubled", before + piece + piece + after),
        8: ("bytes inserted", before + rng.bytes(size) + raw[at:]),
        9: ("cut", before),
        10: (
            "a byte at its limit",
            raw[:at] + bytes([int(rng.choice([0, 127, 128, 255]))]) + raw[at + 1 :],
        ),
    }[pick]


def edited(value: Any, rng: np.random.Generator) -> Any:
    """Returns JSON values in which one is replaced, removed, renamed, doubled or scaled."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = sorted(value)[rng.integers(len(value))]
        changed = dict(value)
        pick = rng.random()
        if pick < 0.08:
            del changed[key]
        elif pick < 0.14:
            changed[str(rng.choice(["", "x", f"{key}_", CODE]))] = changed.pop(key)
        else:
            changed[key] = edited(value[key], rng)
        return changed
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = int(rng.integers(len(value)))
        pick = rng.random()
        if pick < 0.1:
            return value[:at] + value[at + 1 :]
        if pick < 0.2:
            return value[: at + 1] + value[at:]
        return [*value[:at], edited(value[at], rng), *value[at + 1 :]]
    if type(value) in (int, float) and rng.random() < 0.5:
        return [value + 1, value * 3, -value, value / 2][rng.integers(4)]
    if isinstance(value, str) and value and rng.random() < 0.4:
        at = int(rng.integers(len(value)))
        return value[:at] + str(rng.choice(["x", "0", ":", "\0", ""])) + value[at + 1 :]
    return _VALUES[rng.integers(len(_VALUES))]


def _as_json(raw: bytes) -> Any:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None
