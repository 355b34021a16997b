"""Which columns of an Arrow table hold samples and labels, and their values as arrays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from msae_jax.data import labels, table
from msae_jax.data.options import Options
from msae_jax.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa


class Plan(NamedTuple):
    """The columns of a table that are used.

    Attributes:
      kind: `numbers`, a column for each feature; `arrays` or `images`, one column that holds them.
      features: their names.
      label: the name of the column of labels, or None.
      told: whether the user chose the features.
    """

    kind: str
    features: list[str]
    label: str | None
    told: bool


def plan(schema: pa.Schema, options: Options, notes: list[str]) -> Plan:
    """Returns the columns of samples and labels, as the options name them or else as guessed.

    Without options the features are the only column of images, else the only column of arrays,
    else all columns of numbers; no index that pandas wrote is one. The only column with a name of
    `labels.NAMES` becomes the labels, if it holds whole numbers or text.

    Raises: InputError if it cannot be told, or a feature holds neither numbers nor images.
    """
    names, kinds = schema.names, {field.name: kind_of(field.type) for field in schema}
    label = None if options.label is None else names[table.column(options.label, names)]
    if options.columns is not None:
        features = [names[i] for i in table.chosen(options.columns, names) if names[i] != label]
    else:
        features = _guessed(schema, label, notes)
        if label is None:
            label = _label(schema, kinds, features)
            if label is not None:
                features.remove(label)
                notes.append(f"column {label!r} holds labels and is no feature (--columns)")
        features = _of_one_kind(kinds, features, notes)
    if not features:
        raise InputError("no column is left for the features")
    kind = kinds[features[0]]
    if kind in ("images", "arrays") and len(features) > 1:
        raise InputError(
            f"columns {features[0]!r} and {features[1]!r} hold {kind}, or numbers beside them: "
            f"--columns {features[0]} chooses one"
        )
    for name in features:
        if kinds[name] not in ("numbers", "arrays", "images"):
            raise InputError(_refusal(schema, name, kinds[name]))
        if kinds[name] != kind:
            raise InputError(
                f"column {name!r} holds {kinds[name]} beside columns of {kind}: --columns chooses"
            )
    return Plan(kind, features, label, options.columns is not None)


def kind_of(kind: pa.DataType) -> str:
    """Returns what a column holds: numbers, arrays, images, text, times, or its type in words."""
    import pyarrow as pa
    from pyarrow import types

    if isinstance(kind, pa.FixedShapeTensorType):
        return "arrays"
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        return "numbers"
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return "arrays" if kind_of(kind.value_type) in ("numbers", "arrays") else str(kind)
    if types.is_struct(kind):  # as `datasets` stores an image: its bytes and its path
        inner = kind.get_field_index("bytes")
        return "images" if inner >= 0 and kind_of(kind[inner].type) == "images" else str(kind)
    if types.is_binary(kind) or types.is_large_binary(kind):
        return "images"
    if types.is_dictionary(kind):
        return "text" if kind_of(kind.value_type) == "text" else str(kind)
    if types.is_string(kind) or types.is_large_string(kind):
        return "text"
    return "times" if types.is_temporal(kind) else str(kind)


def index_columns(schema: pa.Schema) -> list[str]:
    """Returns the columns in which pandas keeps an index."""
    try:
        known = list(schema.pandas_metadata["index_columns"])
    except (ValueError, KeyError, TypeError):  # no metadata of pandas, or damaged ones
        return []
    return [name for name in known if isinstance(name, str) and name in schema.names]


def class_names(schema: pa.Schema, label: str) -> tuple[str, ...] | None:
    """Returns what numbers of a column stand for, where `datasets` has kept its `ClassLabel`."""
    try:
        told = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"][label]
        names = told["names"] if told["_type"] == "ClassLabel" else None
    except (ValueError, LookupError, TypeError, RecursionError):  # none, or damaged ones
        return None
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        return None
    return tuple(names)


def _guessed(schema: pa.Schema, label: str | None, notes: list[str]) -> list[str]:
    """Returns all columns but the labels and indices."""
    index = [name for name in index_columns(schema) if name != label and len(schema.names) > 1]
    features = [name for name in schema.names if name not in (label, *index)]
    if len(features) > 1 and features[0].lower() in table.UNNAMED:
        index.append(features.pop(0))
    if index:
        notes.append(f"column {index[0]!r} is an index and is left out (--columns)")
    return features


def _label(schema: pa.Schema, kinds: dict[str, str], features: list[str]) -> str | None:
    from pyarrow import types

    lower = {name.lower(): name for name in features}
    found = [lower[name] for name in labels.NAMES if name in lower]
    if len(found) != 1 or len(features) < 2:
        return None
    if found[0].lower() == "y" and "x" in lower and kinds[lower["x"]] == "numbers":
        return None  # coordinates
    fractions = types.is_floating(schema.field(found[0]).type)
    return found[0] if kinds[found[0]] in ("numbers", "text") and not fractions else None


def _of_one_kind(kinds: dict[str, str], features: list[str], notes: list[str]) -> list[str]:
    """Returns the columns of images where there are such, else those of arrays, else all."""
    for kind in ("images", "arrays"):
        chosen = [name for name in features if kinds[name] == kind]
        left = [name for name in features if name not in chosen]
        if chosen and left:
            shown = ", ".join(left[:4]) + (", ..." if len(left) > 4 else "")
            notes.append(f"beside {chosen[0]!r} are left out: {shown} (--columns)")
        if chosen:
            return chosen
    return features


def _refusal(schema: pa.Schema, name: str, kind: str) -> str:
    if kind == "text":
        return (
            f"column {name!r} holds text, expected numbers: --label {name} takes it as labels, "
            "--columns leaves it out"
        )
    if kind == "times":
        return (
            f"column {name!r} holds times, expected numbers: --columns leaves it out, --window "
            "reads the file as a series"
        )
    return (
        f"column {name!r} is of type {schema.field(name).type}, expected numbers, lists of numbers "
        "or images: --columns leaves it out"
    )


def dtype_of(schema: pa.Schema, features: Sequence[str]) -> np.dtype:
    """Returns the dtype of the values of features, float32 where their types differ."""
    import pyarrow as pa

    found = set()
    for name in features:
        kind = schema.field(name).type
        while hasattr(kind, "storage_type") or hasattr(kind, "value_type"):
            kind = getattr(kind, "storage_type", None) or kind.value_type
        found.add(pa.array([], kind).to_numpy(zero_copy_only=False).dtype)
    return found.pop() if len(found) == 1 else np.dtype(np.float32)


def values(column: pa.Array, name: str, begin: int) -> np.ndarray:
    """Returns a column of numbers [B], or of arrays of one shape [B, ...].

    Args:
      begin: the number of its first sample, for errors.

    Raises: InputError naming the sample that is missing or has another shape.
    """
    import pyarrow as pa
    from pyarrow import compute, types

    _check_known(column, name, begin)
    if isinstance(column, pa.FixedShapeTensorArray):
        return column.to_numpy_ndarray()
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    rows, shape = len(column), [len(column)]
    while not types.is_primitive(column.type):
        lengths = compute.list_value_length(column).to_numpy(zero_copy_only=False)
        odd = np.flatnonzero(lengths != lengths[0])
        if odd.size:
            sample = begin + int(odd[0]) * rows // len(column)
            raise InputError(
                f"sample {sample}, column {name!r}: is {lengths[odd[0]]} long where the first is "
                f"{lengths[0]}, expected arrays of one shape"
            )
        shape.append(int(lengths[0]))
        column = column.flatten()
        if column.null_count:
            raise InputError(f"column {name!r}: holds empty values (null), expected numbers")
        if not len(column):
            return np.empty(shape, np.float32)
    return column.to_numpy(zero_copy_only=False).reshape(shape)


def encoded(column: pa.Array, name: str, begin: int) -> list[memoryview]:
    """Returns the bytes of each image of a column.

    Raises: InputError naming the sample that has none.
    """
    from pyarrow import compute, types

    _check_known(column, name, begin)
    if types.is_struct(column.type):
        column = compute.struct_field(column, "bytes")
        _check_known(column, name, begin, ": the file at its path is not read")
    return [memoryview(value.as_buffer()) for value in column]


def cells(column: pa.Array, name: str, begin: int) -> np.ndarray | list[str]:
    """Returns labels: whole numbers [B], or text.

    Raises: InputError naming the sample that has none, or what they are instead.
    """
    from pyarrow import types

    _check_known(column, name, begin)
    if types.is_integer(column.type) or types.is_boolean(column.type):
        return column.to_numpy(zero_copy_only=False).astype(np.int64)
    if kind_of(column.type) not in ("text", "numbers"):
        raise InputError(f"column {name!r}: is {column.type}, expected labels: integers or text")
    return [str(value) for value in column.to_pylist()]


def _check_known(column: pa.Array, name: str, begin: int, why: str = "") -> None:
    if column.null_count:
        sample = begin + int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
        raise InputError(f"sample {sample}, column {name!r}: is empty (null){why}")
