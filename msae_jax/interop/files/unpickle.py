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

import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO

from msae_jax.errors import InputError
from msae_jax.interop.files.storages import (
    DTYPES,
    MAX_TENSORS,
    STORAGE_TYPES,
    Global,
    Storage,
    Tensor,
    Unsupported,
    storage_of,
    tensor_v1,
    tensor_v2,
    tensor_v3,
)

MAX_OPCODES = 200_000
MAX_NAMES = 50_000  # torch.save writes each once; the slowest opcode to read
RESAVE = (
    "save its weights again in PyTorch: import torch; "
    "model = torch.load(path, weights_only=False); torch.save(model.state_dict(), 'weights.pth')"
)
RESAVE_SCRIPT = RESAVE.replace("torch.load(path, weights_only=False)", "torch.jit.load(path)")

_DICTS = {"collections.OrderedDict", "collections.defaultdict", "collections.Counter"}
_REBUILD: dict[str, Callable[..., Tensor]] = {
    "torch._utils._rebuild_tensor": tensor_v1,
    "torch._utils._rebuild_tensor_v2": tensor_v2,
    "torch._utils._rebuild_tensor_v3": tensor_v3,
}
_PARAMETERS = {
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch.nn.parameter.Parameter",
}
_FROM_TYPE = "torch._tensor._rebuild_from_type_v2"
_UNSUPPORTED = {
    "torch._utils._rebuild_qtensor": "quantised",
    "torch._utils._rebuild_sparse_tensor": "sparse",
    "torch._utils._rebuild_nested_tensor": "nested",
    "torch._utils._rebuild_meta_tensor_no_storage": "a meta tensor, without values",
}
# Other values in hyper-parameters, optimizer and scheduler states: noted as Opaque, never made.
_PLAIN = {
    "torch.Size", "torch.device", "_codecs.encode",
    "numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar",
    "builtins.set", "builtins.frozenset", "builtins.bytearray", "builtins.complex",
    "builtins.list", "builtins.dict", "builtins.int", "builtins.float",
    "torch.serialization._get_layout",
}  # fmt: skip
_NAMED = {f"torch.{name}" for name in DTYPES} | {
    "torch.Tensor", "torch.qint8", "torch.quint8", "torch.qint32", "torch.quint4x2",
    "torch.quint2x4", "torch.per_tensor_affine", "torch.per_channel_affine",
    "torch.per_tensor_symmetric", "torch.per_channel_symmetric",
    "torch.per_channel_affine_float_qparams",
}  # fmt: skip
"""Names that stand for themselves: they are never called."""

_CALLED = _DICTS | _PARAMETERS | _PLAIN | _REBUILD.keys() | _UNSUPPORTED.keys() | {_FROM_TYPE}
_ALLOWED = _CALLED | _NAMED | STORAGE_TYPES.keys()
_LITERALS = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING",
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
_MARKED = {op.name for op in pickletools.opcodes if pickletools.markobject in op.stack_before}


class Opaque:
    """A value, or a key, that no state dict needs."""

    __slots__ = ()


def unpickle(stream: BinaryIO, storages: dict[str, Storage] | None = None) -> object:
    """Returns what the next pickle in `stream` describes; mappings of any kind come as dicts.

    Args:
        storages: takes the storages that it names, by key.

    Raises:
        InputError: it refers to code; the error names it.
        Exception: it is malformed or too large; which exception is not promised.
    """
    machine = _Machine({} if storages is None else storages)
    for count, (opcode, arg, _) in enumerate(pickletools.genops(stream), start=1):
        if count > MAX_OPCODES or machine.names > MAX_NAMES or machine.tensors > MAX_TENSORS:
            raise ValueError(
                f"more than {MAX_OPCODES} opcodes, {MAX_NAMES} names or {MAX_TENSORS} tensors"
            )
        if opcode.name in _LITERALS:
            machine.stack.append(arg)
        elif opcode.name == "STOP":
            return machine.stack.pop()
        else:
            machine.run(opcode.name, arg)
    raise AssertionError("genops ends with STOP or raises")


class _Machine:
    """The state of the pickle machine, and what each opcode does to it.

    Attributes:
      stack: the values since the last mark. below: the stacks under each mark.
      memo: values kept for later. names, tensors: how many there were so far.
      storages: those named so far, by key.
    """

    def __init__(self, storages: dict[str, Storage]) -> None:
        self.storages = storages
        self.stack: list = []
        self.below: list[list] = []
        self.memo: dict[int, object] = {}
        self.names = self.tensors = 0

    def run(self, name: str, arg: Any) -> None:
        """Runs one opcode that is neither a literal nor STOP."""
        marked: list = []
        if name in _MARKED:
            marked, self.stack = self.stack, self.below.pop()
        stack = self.stack
        match name:
            case "PROTO" | "FRAME" | "POP_MARK":
                pass
            case "MARK":
                self.below.append(stack)
                self.stack = []
            case "BINPUT" | "LONG_BINPUT" | "PUT" if 0 <= arg < 2**32:
                self.memo[arg] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET" | "GET":
                stack.append(self.memo[arg])
            case "POP":
                stack.pop()
            case "DUP":
                stack.append(stack[-1])
            case "GLOBAL":
                self.names += 1
                stack.append(_global(arg.replace(" ", ".", 1)))
            case "STACK_GLOBAL":
                self.names += 1
                attribute, module = stack.pop(), stack.pop()
                if type(module) is not str or type(attribute) is not str:
                    raise TypeError("a name is not a string")
                stack.append(_global(f"{module}.{attribute}"))
            case "BINPERSID":
                stack.append(storage_of(stack.pop(), self.storages))
            case "REDUCE":
                args = stack.pop()
                stack[-1] = _reduce(stack[-1].name, args)
                self.tensors += isinstance(stack[-1], Tensor | Unsupported)
            case "BUILD":  # attributes: a state dict's `_metadata`, the state of a NumPy dtype
                stack.pop()
                if not isinstance(stack[-1], dict | Opaque | Tensor):
                    raise TypeError("BUILD of something that has no attributes")
            case "INST":
                raise _code(arg.replace(" ", ".", 1))
            case "OBJ" | "NEWOBJ" | "NEWOBJ_EX" | "EXT1" | "EXT2" | "EXT4":
                values = marked if name == "OBJ" else stack[-3:]
                named = [value.name for value in values if type(value) is Global]
                raise _code(" ".join([name, *named, str(arg or "")[:100]]).strip())
            case _:
                _fill(stack, name, marked)


def _fill(stack: list, name: str, marked: list) -> None:
    """Runs an opcode that makes a constant or a container, or puts values into one."""
    match name:
        case "NONE" | "NEWTRUE" | "NEWFALSE":
            stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
        case "EMPTY_TUPLE":
            stack.append(())
        case "TUPLE1":
            stack[-1] = (stack[-1],)
        case "TUPLE2":
            stack[-2:] = [(stack[-2], stack[-1])]
        case "TUPLE3":
            stack[-3:] = [(stack[-3], stack[-2], stack[-1])]
        case "TUPLE" | "FROZENSET":
            stack.append(tuple(marked))
        case "EMPTY_LIST" | "EMPTY_SET":
            stack.append([])
        case "LIST":
            stack.append(marked)
        case "APPEND":
            value = stack.pop()
            _extend(stack[-1], [value])
        case "APPENDS" | "ADDITEMS":
            _extend(stack[-1], marked)
        case "EMPTY_DICT":
            stack.append({})
        case "DICT":
            stack.append(_update({}, marked))
        case "SETITEM":
            value, key = stack.pop(), stack.pop()
            _update(stack[-1], [key, value])
        case "SETITEMS":
            _update(stack[-1], marked)
        case _:
            raise ValueError(f"the pickle opcode {name} is out of place")


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
        "whole pickled model or a training checkpoint, you have its code and you trust its maker, "
        f"{RESAVE}"
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
        if not (type(key) is str or (type(key) is int and abs(key) < 2**31)):
            key = Opaque()  # to hash what a file chose can take for ever, and no tensor is so named
        elif key in target:
            raise ValueError(f"the key {str(key)[:60]!a} is set twice")
        target[key] = item
    return target


def _reduce(function: str, args: tuple) -> object:
    """Returns what stands for `function(*args)`."""
    if type(args) is not tuple:
        raise TypeError(f"{function} is called with arguments that torch.save does not write")
    if function in _REBUILD:
        return _REBUILD[function](*args)
    if function in _UNSUPPORTED:
        return Unsupported(_UNSUPPORTED[function])
    if function == _FROM_TYPE:  # a tensor with attributes of Python's
        rebuild, _kind, inner, _attributes = args
        return _REBUILD[rebuild.name](*inner)
    if function in _PARAMETERS and isinstance(args[0], Tensor | Unsupported):
        return args[0]
    if function == "collections.OrderedDict" and args:  # as Python 2 pickles it
        [pairs] = args
        return _update({}, [value for key, item in pairs for value in (key, item)])
    if function in _DICTS:
        return {}
    if function in _PLAIN:
        return Opaque()
    raise TypeError(f"{function} is called, which torch.save does not do")
