"""What is in a `.pt2` file: the program, its tensors, and what its values may be."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from msae_jax.errors import InputError
from msae_jax.interop.autoencoder import Autoencoder
from msae_jax.interop.files.pt2 import Program, read_pt2
from msae_jax.interop.files.pt2_values import Free, Graph, Ref
from msae_jax.interop.graph.table import problem
from msae_jax.interop.programs import assumed
from msae_jax.interop.pt2 import fields, notes


def inspect_program(path: Path) -> dict[str, Any]:
    """Returns what is in a `.pt2`, as `inspection.inspect` does, with the program under `program`.

    Raises:
      InputError: it cannot be read.
    """
    program = read_pt2(path)
    tensors = [_tensor(program, name) for name in program.state]
    lacking = sorted({node.operator for node in program.graph.nodes if problem(node) is not None})
    found = {
        "file": str(path),
        "format": f"program of torch.export, schema {program.schema[0]}.{program.schema[1]}, "
        f"written by PyTorch {program.torch_version}",
        "bytes": path.stat().st_size,
        "program": {
            "inputs": [_shown(program.graph, value.name) for value in program.graph.user_inputs],
            "outputs": [
                _shown(program.graph, result.value.name)
                for result in program.graph.outputs
                if result.kind == "user" and isinstance(result.value, Ref)
            ],
            "nodes": len(program.graph.nodes),
            "operators": dict(Counter(node.operator for node in program.graph.nodes)),
            "not supported": lacking,
            "training graph": program.training is not None,
        },
        "state_dicts": [
            {"key": "", "tensors": tensors, "values": sum(a.size for a in program.state.values())}
        ],
        "optimizers": [],
        "other": {name: f"{len(data)} bytes" for name, data in program.extra.items()},
    }
    if lacking:
        return found | {"next": [f"{', '.join(lacking)} cannot be computed here"]}
    return found | _usable(path, program)


def _usable(path: Path, program: Program) -> dict[str, Any]:
    """Returns what is to be known of a program that can be computed, and what to do next."""
    apply = f"msae apply {path} --input x.npy --out y.npz"
    try:
        made = fields(program, str(path))
        module = Autoencoder(**made)
        said = [*notes(module)]
        if len(program.graph.user_inputs) != 1 or "recon" not in module.values():
            return {"notes": said, "next": [apply, f"msae verify {path}"]}
        said.extend(filter(None, [assumed(module)]))
        said.append(
            "can be cut at its latent: encode and decode"
            if module.is_cut()
            else "cannot be cut at a latent"
        )
    except InputError as error:
        return {"notes": [str(error)], "next": [apply]}
    steps = [f"msae {name} {path}" for name in ("verify", "evaluate")]
    return {"notes": said, "next": [*steps, f"msae train --model {path} --data DATA", apply]}


def _tensor(program: Program, name: str) -> dict[str, Any]:
    array = program.state[name]
    found = {
        "name": name,
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "bytes": array.nbytes,
    }
    other = program.tied.get(name, program.shared.get(name))
    return found | ({} if other is None else {"shares": other})


def _shown(graph: Graph, name: str) -> dict[str, Any]:
    meta = graph.metas.get(name)
    if meta is None:
        return {"name": name, "shape": None, "dtype": "a number"}
    sizes = ["any" if isinstance(size, Free) else size for size in meta.sizes]
    return {"name": name, "shape": sizes, "dtype": meta.dtype}


def lines_of(found: dict[str, Any]) -> list[str]:
    """Returns the lines of the program itself, for a terminal."""
    program = found["program"]
    lines = [
        f"{what} {i}: {one['name']} {one['shape'] or ''} {one['dtype']}"
        for what in ("input", "output")
        for i, one in enumerate(program[f"{what}s"])
    ]
    kinds = program["operators"]
    graphs = "evaluation and training" if program["training graph"] else "one"
    lines.append(f"{program['nodes']} nodes of {len(kinds)} operators; graphs: {graphs}")
    return [*lines, *found.get("notes", [])]
