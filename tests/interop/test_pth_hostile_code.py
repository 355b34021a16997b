"""Files that carry code: none runs, and the error names what wanted to."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from msae_jax.interop import read_pth
from tests.interop.hostile_pth import ORDERED_DICT, state, tensor, text, zipped


class Touch:
    """Makes a file when unpickled."""

    def __init__(self, path: Path, protocol: int) -> None:
        self.path = path
        self.protocol = protocol

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.path}",)


def test_the_sentinel_works(sentinel):
    pickle.loads(pickle.dumps(Touch(sentinel, 2)))
    assert sentinel.exists()


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("wrap", ["bare", "value", "nested", "checkpoint", "not zipped"])
def test_code_from_the_pickle_module(refuse, sentinel, protocol, wrap):
    touch = Touch(sentinel, protocol)
    value = {
        "bare": touch,
        "value": {"w": touch},
        "nested": {"a": [1, ({"b": (touch,)},)]},
        "checkpoint": {"state_dict": {}, "hyper_parameters": {"lr": 1e-3, "f": touch}},
        "not zipped": touch,
    }[wrap]
    program = pickle.dumps(value, protocol=protocol)
    message = refuse(program if wrap == "not zipped" else zipped(program[:-1]))
    assert f"wants to run {os.name}.system" in message
    assert "Nothing was run" in message
    assert "torch.save(model.state_dict(), 'weights.pth')" in message


def opcodes_that_run(path: str) -> dict[str, tuple[bytes, str]]:
    call = text(f"touch {path}")
    system = b"cposix\nsystem\n"
    short = b"\x8c\x05posix\x8c\x06system\x93"
    exec_ = f"open({path!r}, 'w')"
    return {
        "REDUCE": (system + call + b"\x85R", "posix.system"),
        "GLOBAL alone": (system, "posix.system"),
        "STACK_GLOBAL": (short + call + b"\x85R", "posix.system"),
        "STACK_GLOBAL from the memo": (
            text("system") + b"q\x01" + text("posix") + b"q\x02h\x02h\x01\x93" + call + b"\x85R",
            "posix.system",
        ),
        "dotted name": (b"cos\npath.os.system\n" + call + b"\x85R", "os.path.os.system"),
        "INST": (b"(" + call + b"iposix\nsystem\n", "posix.system"),
        "INST, protocol 0": (f"(S'touch {path}'\nios\nsystem\n".encode(), "os.system"),
        "OBJ": (b"(" + system + call + b"o", "posix.system"),
        "NEWOBJ": (b"csubprocess\nPopen\n" + call + b"\x85\x81", "subprocess.Popen"),
        "NEWOBJ_EX": (b"csubprocess\nPopen\n)}\x92", "subprocess.Popen"),
        "eval": (b"c__builtin__\neval\n" + text(exec_) + b"\x85R", "builtins.eval"),
        "getattr": (b"c__builtin__\ngetattr\n", "builtins.getattr"),
        "BUILD": (b"ctypes\nSimpleNamespace\n)\x81}" + text("a") + b"Nsb", "types.SimpleNamespace"),
        "popped again": (system + call + b"\x85R0N", "posix.system"),
        "after other values": (state(tensor()) + system + call + b"\x85R0", "posix.system"),
        "in a state dict": (state(system + call + b"\x85R"), "posix.system"),
        "as a key": (b"}" + system + call + b"\x85RNs", "posix.system"),
        "in a list of a wrapped checkpoint": (
            b"}" + text("state_dict") + state(tensor()) + b"s" + text("x") + b"]" + system + b"as",
            "posix.system",
        ),
        "metadata": (
            state(tensor()) + b"}" + text("_metadata") + system + call + b"\x85Rsb",
            "posix.system",
        ),
        "backward hooks": (state(tensor()).replace(ORDERED_DICT + b"tR", system), "posix.system"),
        "persistent id": (
            b"(" + text("storage") + system + text("0") + text("cpu") + b"K\x02tQ",
            "posix.system",
        ),
        "torch's own loader": (b"ctorch\nload\n" + text(path) + b"\x85R", "torch.load"),
        "torch.storage's loader": (
            b"ctorch.storage\n_load_from_bytes\nC\x04abcd\x85R",
            "torch.storage._load_from_bytes",
        ),
        "a whole module": (b"c__main__\nNet\n)\x81}b", "__main__.Net"),
        "NEWOBJ of an allowed name": (
            b"ccollections\nOrderedDict\n)\x81",
            "NEWOBJ collections.OrderedDict",
        ),
        "OBJ of an allowed name": (b"(ccollections\nOrderedDict\no", "OBJ collections.OrderedDict"),
        "INST of an allowed name": (b"(icollections\nOrderedDict\n", "collections.OrderedDict"),
        "EXT1": (b"\x82\x07", "EXT1 7"),
        "EXT4": (b"\x84\x07\0\0\0", "EXT4 7"),
        "escape sequences": (b"c\x1b[31mos\nsystem\n", "\\x1b[31mos.system"),
    }


@pytest.mark.parametrize("name", opcodes_that_run(""))
def test_code_from_raw_opcodes_is_named(refuse, sentinel, name):
    program, wanted = opcodes_that_run(str(sentinel))[name]
    message = refuse(zipped(program))
    assert f"wants to run {wanted}" in message
    assert message.isprintable()


def test_attributes_set_on_a_state_dict_do_nothing(tmp_path):
    attributes = b"}" + text("keys") + b"N" + b"s" + text("__class__") + b"Nsb"
    path = tmp_path / "a.pth"
    path.write_bytes(zipped(state(tensor()) + attributes))
    assert list(read_pth(path)) == ["w"]
