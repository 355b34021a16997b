"""Primitives that move values, as ONNX operators."""

from __future__ import annotations

from typing import Any

import numpy as np

from msae_jax.export.builder import Builder, Tensor, Unsupported, constant, is_one, is_static
from msae_jax.export.elementwise import Rule

FARTHEST = -(2**31)  # before the first value, for a Slice that goes backwards


def _broadcast(g: Builder, inputs: list[Tensor], out: Any, params: dict[str, Any]) -> Tensor:
    """Repeats nothing yet: it gives the source axes of size 1."""
    tensor, axes = inputs[0], params["broadcast_dimensions"]
    sizes: list[Any] = [1] * len(out.shape)
    for axis, size in zip(axes, tensor.sizes, strict=True):
        sizes[axis] = size
    new = [axis for axis in range(len(out.shape)) if axis not in axes]
    if tensor.array is not None:
        return Tensor(tensor.array.reshape(sizes), tensor.dtype, tuple(sizes), out.shape)
    if not new:
        return tensor._replace(shape=out.shape)
    return g.node("Unsqueeze", [tensor, g.ints(new)], sizes, tensor.dtype, shape=out.shape)


def _reshape(g: Builder, inputs: list[Tensor], out: Any, params: dict[str, Any]) -> Tensor:
    if params.get("dimensions") is not None:
        raise Unsupported("in another order of axes")
    return g.reshape(inputs[0], out.shape)


def _squeeze(g: Builder, inputs: list[Tensor], out: Any, params: dict[str, Any]) -> Tensor:
    tensor, axes = inputs[0], params["dimensions"]
    kept = [size for axis, size in enumerate(tensor.sizes) if axis not in axes]
    return g.node("Squeeze", [tensor, g.ints(list(axes))], kept, tensor.dtype, shape=out.shape)


def _transpose(g: Builder, inputs: list[Tensor], out: Any, params: dict[str, Any]) -> Tensor:
    return g.transpose(inputs[0], params["permutation"])


def _slice(g: Builder, inputs: list[Tensor], out: Any, params: dict[str, Any]) -> Tensor:
    tensor = inputs[0]
    starts, stops = params["start_indices"], params["limit_indices"]
    steps = params["strides"] or (1,) * len(starts)
    cut = [
        axis
        for axis, size in enumerate(tensor.shape)
        if not (is_one(steps[axis]) and starts[axis] == 0 and stops[axis] == size)
    ]
    if not is_static([n for axis in cut for n in (tensor.shape[axis], starts[axis], stops[axis])]):
        raise Unsupported("of an axis whose size is free")
    if not cut:
        return tensor
    return g.cut(tensor, cut, *([of[axis] for axis in cut] for of in (starts, stops, steps)))


def _reverse(g: Builder, inputs: list[Tensor], out: Any, params: dict[str, Any]) -> Tensor:
    tensor, axes = g.full(inputs[0]), list(params["dimensions"])
    given = [[-1] * len(axes), [FARTHEST] * len(axes), axes, [-1] * len(axes)]
    return g.node("Slice", [tensor, *map(g.ints, given)], tensor.shape, tensor.dtype)


def _concatenate(g: Builder, inputs: list[Tensor], out: Any, params: dict[str, Any]) -> Tensor:
    parts = [g.full(tensor) for tensor in inputs]
    return g.node("Concat", parts, out.shape, out.dtype, axis=params["dimension"])


def _pad(g: Builder, inputs: list[Tensor], out: Any, params: dict[str, Any]) -> Tensor:
    tensor, value = inputs
    return padded(g, tensor, value, params["padding_config"], out.shape)


def padded(
    g: Builder, tensor: Tensor, value: Tensor, config: Any, shape: tuple[Any, ...]
) -> Tensor:
    """Returns a value with others before and behind each axis; negative ones are cut off."""
    if any(inner for _, _, inner in config):
        raise Unsupported("between the values")
    cut = [axis for axis, (low, high, _) in enumerate(config) if low < 0 or high < 0]
    if cut:
        if not is_static([tensor.shape[axis] for axis in cut]):
            raise Unsupported("of an axis whose size is free")
        starts = [max(-config[axis][0], 0) for axis in cut]
        stops = [tensor.shape[axis] - max(-config[axis][1], 0) for axis in cut]
        tensor = g.cut(tensor, cut, starts, stops)
    pads = [max(edge[side], 0) for side in (0, 1) for edge in config]
    if not any(pads):
        return tensor
    return g.node("Pad", [g.full(tensor), g.ints(pads), value], shape, tensor.dtype)


def _iota(g: Builder, inputs: list[Tensor], out: Any, params: dict[str, Any]) -> Tensor:
    axis = params["dimension"]
    if not isinstance(out.shape[axis], int):
        raise Unsupported("along an axis whose size is free")
    sizes = [1] * len(out.shape)
    sizes[axis] = out.shape[axis]
    array = np.arange(out.shape[axis]).astype(out.dtype).reshape(sizes)
    return Tensor(array, array.dtype, tuple(sizes), out.shape)


def _gather(g: Builder, inputs: list[Tensor], out: Any, params: dict[str, Any]) -> Tensor:
    """Takes numbered entries of one axis, or one block of a known place."""
    tensor, indices = g.full(inputs[0]), g.full(inputs[1])
    numbers, sizes = params["dimension_numbers"], list(params["slice_sizes"])
    axes = tuple(numbers.start_index_map)
    if len(indices.shape) == 1 and indices.array is not None:
        return _block(g, tensor, dict(zip(axes, indices.array.tolist(), strict=True)), out, params)
    whole = [n for axis, n in enumerate(tensor.shape) if axis not in axes]
    taken = [n for axis, n in enumerate(sizes) if axis not in axes]
    if (
        len(axes) != 1
        or tuple(numbers.collapsed_slice_dims) != axes
        or numbers.operand_batching_dims
        or sizes[axes[0]] != 1
        or whole != taken
    ):
        raise Unsupported("other than of whole entries along one axis")
    axis = axes[0]
    count = tensor.shape[axis]
    flat = g.reshape(indices, indices.shape[:-1])
    if flat.array is not None:
        found = flat.array
        if found.size and (found.min() < 0 or found.max() >= count):
            raise Unsupported("beyond the ends of an axis")
        flat = constant(found.astype(np.int64))
    elif str(params["mode"]).rpartition(".")[2] not in ("CLIP", "PROMISE_IN_BOUNDS"):
        raise Unsupported("of indices that hang on the input, with a value for those beyond")
    elif isinstance(count, int):
        for operator, bound in (("Max", 0), ("Min", count - 1)):
            limit = constant(np.array(bound, flat.dtype))
            flat = g.node(operator, [flat, limit], flat.shape, flat.dtype)
    made = [*tensor.shape[:axis], *flat.shape, *tensor.shape[axis + 1 :]]
    found_ = g.node("Gather", [tensor, flat], made, tensor.dtype, axis=axis)
    # JAX may want the entries' own axes elsewhere: those of offset_dims, in order.
    offset = tuple(numbers.offset_dims)
    of_indices = [i for i in range(len(made)) if i not in offset]
    places = [*offset[:axis], *of_indices, *offset[axis:]]
    return g.transpose(found_, np.argsort(places).tolist())


def _block(
    g: Builder, tensor: Tensor, starts: dict[int, int], out: Any, params: dict[str, Any]
) -> Tensor:
    """Returns the block of `slice_sizes` that starts at known places, its collapsed axes gone."""
    sizes = params["slice_sizes"]
    cut = [axis for axis, (n, m) in enumerate(zip(tensor.shape, sizes, strict=True)) if n != m]
    if not is_static([n for axis in cut for n in (tensor.shape[axis], sizes[axis])]):
        raise Unsupported("of an axis whose size is free")
    stops = [starts.get(axis, 0) + sizes[axis] for axis in cut]
    for axis, stop in zip(cut, stops, strict=True):
        if starts.get(axis, 0) < 0 or stop > tensor.shape[axis]:
            raise Unsupported("beyond the ends of an axis")
    if cut:
        tensor = g.cut(tensor, cut, [starts.get(axis, 0) for axis in cut], stops)
    gone = list(params["dimension_numbers"].collapsed_slice_dims)
    if not gone:
        return tensor
    return g.node("Squeeze", [tensor, g.ints(gone)], out.shape, tensor.dtype)


def _dynamic_slice(g: Builder, inputs: list[Tensor], out: Any, params: dict[str, Any]) -> Tensor:
    tensor, *given = inputs
    starts = _starts(given, tensor.shape, params["slice_sizes"])
    axes = list(starts)
    stops = [starts[axis] + params["slice_sizes"][axis] for axis in axes]
    return g.cut(tensor, axes, list(starts.values()), stops) if axes else tensor


def _starts(given: list[Tensor], shape: Any, sizes: Any) -> dict[int, int]:
    """Returns where a slice starts, by the axes that it does not take whole."""
    found = {}
    for axis, (start, size, taken) in enumerate(zip(given, shape, sizes, strict=True)):
        if size == taken:
            continue
        if start.array is None or not is_static([size, taken]):
            raise Unsupported("from a place that hangs on the input")
        found[axis] = min(max(int(start.array), 0), size - taken)  # as JAX moves it inside
    return found


def _update(g: Builder, inputs: list[Tensor], out: Any, params: dict[str, Any]) -> Tensor:
    tensor, new, *given = inputs
    starts = _starts(given, tensor.shape, new.shape)
    if not starts:
        return new
    if len(starts) > 1:
        raise Unsupported("along more than one axis")
    ((axis, start),) = starts.items()
    stop, end = start + new.shape[axis], tensor.shape[axis]
    parts = [g.cut(tensor, [axis], [0], [start])] if start else []
    parts.append(g.full(new))
    parts += [g.cut(tensor, [axis], [stop], [end])] if stop < end else []
    return g.node("Concat", parts, out.shape, out.dtype, axis=axis)


def split(g: Builder, tensor: Tensor, params: dict[str, Any]) -> list[Tensor]:
    """Returns the parts that `split` cuts an axis into."""
    axis, start, parts = params["axis"], 0, []
    for size in params["sizes"]:
        parts.append(g.cut(tensor, [axis], [start], [start + size]))
        start += size
    return parts


RULES: dict[str, Rule] = {
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _update,
    "gather": _gather,
    "iota": _iota,
    "pad": _pad,
    "reshape": _reshape,
    "rev": _reverse,
    "slice": _slice,
    "squeeze": _squeeze,
    "transpose": _transpose,
}
