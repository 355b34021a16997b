"""What the pickle inside a PyTorch file describes, found out without running any of it.

`torch.save` writes the weights' names, types, shapes and places in a file as a pickle, and a pickle
is a program. `unpickle` walks its opcodes and makes plain values and `Tensor` descriptions only:
it imports nothing, calls nothing and builds no object that the pickle names, and refuses at the
first name that `torch.save` does not write for weights, hyper-parameters and optimizer states.

Whatever the pickle claims, the work is bounded: at most `MAX_OPCODES` opcodes, `MAX_NAMES` names
and `MAX_TENSORS` tensors, each opcode costing a fixed time beside the bytes that it holds. Nothing
is hashed but strings and small numbers, nothing is walked recursively, what is printed is cut short
first.

Sources: torch/_weights_only_unpickler.py and torch/_utils.py of PyTorch 2.13; the opcodes as
documented in the standard library's pickletools.
"""

from __future__ import annotations

import math
import pickletools
from dataclasses import dataclass
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from msae_jax.errors import InputError

MAX_OPCODES = 200_000
MAX_NAMES = 50_000  # torch.save writes each once; the slowest opcode to read
MAX_TENSORS = 5_000
MAX_DIMENSIONS = 64  # NumPy's and PyTorch's own
RESAVE = "re-save its weights with PyTorch: torch.save(model.state_dict(), path)"

_NAMES = (
    "float16", "float32", "float64", "bfloat16", "complex64", "complex128", "bool",
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz",
)  # fmt: skip
DTYPES = {name: np.dtype(getattr(ml_dtypes, name, name)) for name in _NAMES}
STORAGES = {
    "FloatStorage": DTYPES["float32"],
    "DoubleStorage": DTYPES["float64"],
    "HalfStorage": DTYPES["float16"],
    "BFloat16Storage": DTYPES["bfloat16"],
    "LongStorage": DTYPES["int64"],
    "IntStorage": DTYPES["int32"],
    "ShortStorage": DTYPES["int16"],
    "CharStorage": DTYPES["int8"],
    "ByteStorage": DTYPES["uint8"],
    "BoolStorage": DTYPES["bool"],
    "ComplexFloatStorage": DTYPES["complex64"],
    "ComplexDoubleStorage": DTYPES["complex128"],
}

_STORAGES = {f"torch.{name}": dtype for name, dtype in STORAGES.items()} | {
    "torch.storage.UntypedStorage": DTYPES["uint8"]
}
_DICTS = {"collections.OrderedDict", "collections.defaultdict", "collections.Counter"}
_REBUILD = {"torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3"}
_PARAMETERS = {"torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"}
# Other values in hyper-parameters, optimizer and scheduler states: noted as Opaque, never made.
_PLAIN = {
    "torch.Size", "torch.device", "_codecs.encode",
    "numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar",
    "builtins.set", "builtins.frozenset", "builtins.bytearray", "builtins.complex",
    "builtins.list", "builtins.dict", "builtins.int", "builtins.float",
}  # fmt: skip
_ALLOWED = (
    _DICTS | _REBUILD | _PARAMETERS | _PLAIN | _STORAGES.keys() | {f"torch.{n}" for n in DTYPES}
)
_LITERALS = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING",
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
_MARKED = {op.name for op in pickletools.opcodes if pickletools.markobject in op.stack_before}


@dataclass(frozen=True, slots=True)
class Global:
    """A name that the pickle refers to; never looked up."""

    name: str


class Opaque:
    """A value, or a key, that no state dict needs."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Storage:
    """`nbytes` raw bytes, kept in the file under `key`."""

    key: str
    dtype: np.dtype
    nbytes: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A view of a storage that lies within it; offset and strides are in elements."""

    storage: Storage
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def unpickle(stream: BinaryIO) -> object:
    """Returns what the next pickle in `stream` describes; mappings of any kind come as dicts.

    Raises:
        InputError: it refers to code; the error names it.
        Exception: it is malformed or too large; which exception is not promised.
    """
    stack: list = []
    below: list[list] = []  # the stacks under each mark
    memo: dict[int, object] = {}
    names = tensors = 0
    arg: Any
    for count, (opcode, arg, _) in enumerate(pickletools.genops(stream), start=1):
        if count > MAX_OPCODES or names > MAX_NAMES or tensors > MAX_TENSORS:
            raise ValueError(
                f"more than {MAX_OPCODES} opcodes, {MAX_NAMES} names or {MAX_TENSORS} tensors"
            )
        name = opcode.name
        if name in _LITERALS:
            stack.append(arg)
            continue
        if name in _MARKED:
            items, stack = stack, below.pop()
        match name:
            case "BINPUT" | "LONG_BINPUT" | "PUT" if 0 <= arg < 2**32:
                memo[arg] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET" | "GET":
                stack.append(memo[arg])
            case "MARK":
                below.append(stack)
                stack = []
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1":
                stack[-1] = (stack[-1],)
            case "TUPLE2":
                stack[-2:] = [(stack[-2], stack[-1])]
            case "TUPLE3":
                stack[-3:] = [(stack[-3], stack[-2], stack[-1])]
            case "TUPLE" | "FROZENSET":
                stack.append(tuple(items))
            case "GLOBAL":
                names += 1
                stack.append(_global(arg.replace(" ", ".", 1)))
            case "STACK_GLOBAL":
                names += 1
                attribute, module = stack.pop(), stack.pop()
                if type(module) is not str or type(attribute) is not str:
                    raise TypeError("a name is not a string")
                stack.append(_global(f"{module}.{attribute}"))
            case "BINPERSID":
                stack.append(_storage(stack.pop()))
            case "REDUCE":
                args = stack.pop()
                stack[-1] = _reduce(stack[-1].name, args)
                tensors += isinstance(stack[-1], Tensor)
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
            case "EMPTY_LIST" | "EMPTY_SET":
                stack.append([])
            case "LIST":
                stack.append(items)
            case "APPEND":
                item = stack.pop()
                _extend(stack[-1], [item])
            case "APPENDS" | "ADDITEMS":
                _extend(stack[-1], items)
            case "EMPTY_DICT":
                stack.append({})
            case "DICT":
                stack.append(_update({}, items))
            case "SETITEM":
                item, key = stack.pop(), stack.pop()
                _update(stack[-1], [key, item])
            case "SETITEMS":
                _update(stack[-1], items)
            case "BUILD":  # attributes: a state dict's `_metadata`, the state of a NumPy dtype
                stack.pop()
                if not isinstance(stack[-1], dict | Opaque):
                    raise TypeError("BUILD of something that has no attributes")
            case "POP":
                stack.pop()
            case "DUP":
                stack.append(stack[-1])
            case "POP_MARK" | "PROTO" | "FRAME":
                pass
            case "STOP":
                return stack.pop()
            case "INST":
                raise _code(arg.replace(" ", ".", 1))
            case "OBJ" | "NEWOBJ" | "NEWOBJ_EX" | "EXT1" | "EXT2" | "EXT4":
                named = [
                    i.name for i in (items if name == "OBJ" else stack[-3:]) if type(i) is Global
                ]
                raise _code(" ".join([name, *named, str(arg or "")[:100]]).strip())
            case _:
                raise ValueError(f"the pickle opcode {name} is out of place")
    raise AssertionError("genops ends with STOP or raises")


def _global(name: str) -> Global:
    """Returns the inert stand-in for an allowed name."""
    if name.startswith("__builtin__."):  # how protocol 2 spells it
        name = f"builtins.{name.removeprefix('__builtin__.')}"
    if name not in _ALLOWED:
        raise _code(name)
    return Global(name)


def _code(name: str) -> InputError:
    return InputError(
        f"carries code: it wants to run {ascii(name[:120])[1:-1]}. Nothing was run. If it is a "
        f"whole pickled model or a training checkpoint, and you trust its maker, {RESAVE}"
    )


def _extend(target: object, items: list) -> None:
    if type(target) is not list:
        raise TypeError("items are appended to something that is not a list")
    target.extend(items)


def _update(target: object, items: list) -> object:
    if isinstance(target, Opaque):
        return target
    if type(target) is not dict:
        raise TypeError("items are set in something that is not a dict")
    for key, item in zip(items[::2], items[1::2], strict=True):
        if type(key) is not str:
            key = Opaque()  # to hash what a file chose can take for ever, and no tensor is so named
        elif key in target:
            raise ValueError(f"the key {key[:60]!a} is set twice")
        target[key] = item
    return target


def _reduce(function: str, args: tuple) -> object:
    """Returns what stands for `function(*args)`."""
    if type(args) is not tuple:
        raise TypeError(f"{function} is called with arguments that torch.save does not write")
    if function in _REBUILD:
        return _tensor(*args) if function.endswith("_v2") else _tensor_v3(*args)
    if function in _PARAMETERS and isinstance(args[0], Tensor):
        return args[0]
    if function == "collections.OrderedDict" and args:  # torch.save sets the items afterwards
        raise TypeError("an OrderedDict is made with items")
    if function in _DICTS:
        return {}
    if function in _PLAIN:
        return Opaque()
    raise TypeError(f"{function} is called, which torch.save does not do")


def _storage(reference: tuple) -> Storage:
    """Returns the storage of a persistent id, ("storage", type, key, location, element count)."""
    tag, kind, key, _location, count = reference
    if tag != "storage" or type(key) is not str or not _is_natural(count):
        raise ValueError("a persistent id is not that of a storage")
    dtype = _STORAGES[kind.name]
    return Storage(key, dtype, count * dtype.itemsize)


def _tensor(
    storage: Storage,
    offset: int,
    shape: tuple,
    strides: tuple,
    _requires_grad: bool,
    _hooks: object,
    metadata: object = None,
    dtype: np.dtype | None = None,
) -> Tensor:
    """Returns what `torch._utils._rebuild_tensor_v2` would view, checked to lie in its storage."""
    dtype = dtype or storage.dtype
    if metadata:
        raise ValueError("a tensor is lazily conjugated or negated: resolve that before saving")
    if len(shape) != len(strides) or len(shape) > MAX_DIMENSIONS:
        raise ValueError("a tensor's sizes and strides do not match")
    if not all(map(_is_natural, (offset, *shape, *strides))):
        raise ValueError("a tensor's offset, sizes or strides are negative, huge or no numbers")
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if 0 not in shape and (last + 1) * dtype.itemsize > storage.nbytes:
        raise ValueError("a tensor reaches beyond its storage")
    return Tensor(storage, dtype, offset, shape, strides)


def _tensor_v3(
    storage: Storage,
    offset: int,
    shape: tuple,
    strides: tuple,
    requires_grad: bool,
    hooks: object,
    dtype: Global,
    metadata: object = None,
) -> Tensor:
    """As `_tensor`, for the dtypes newer than typed storages: raw bytes and the dtype's name."""
    named = DTYPES[dtype.name.removeprefix("torch.")]
    return _tensor(storage, offset, shape, strides, requires_grad, hooks, metadata, named)


def _is_natural(number: object) -> bool:
    return type(number) is int and 0 <= number < 2**62
