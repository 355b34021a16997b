"""Where a graph draws from a normal posterior: mu and log_var of mu + eps exp(log_var / 2).

Source: Kingma and Welling, "Auto-Encoding Variational Bayes" (2013).
"""

from __future__ import annotations

from collections.abc import Mapping

from msae_jax.interop.files.pt2_values import Graph, Node, Ref

_NORMAL = ("randn", "randn_like", "normal_functional", "normal_")
_REPEATS = {
    f"aten.{name}"
    for name in (
        "broadcast_tensors.default", "expand.default", "expand_as.default", "clone.default",
        "contiguous.default", "alias.default", "to.dtype", "to.dtype_layout", "_to_copy.default",
    )
}  # fmt: skip
"""Operators whose result may be their argument once more."""


def posterior(graph: Graph) -> dict[str, str]:
    """Returns mu, log_var and z of z = mu + eps exp(log_var / 2), if there is one such sum."""
    made = {name: node for node in graph.nodes for name in node.values}
    found = []
    for node in graph.nodes:
        if node.operator not in ("aten.add.Tensor", "aten.add_.Tensor"):
            continue
        ends = [node.arguments.get("self"), node.arguments.get("other")]
        for mu, noise in (ends, ends[::-1]):
            log_var = _log_variance(graph, made, noise)
            if isinstance(mu, Ref) and log_var is not None:
                mean = _source(graph, made, mu.name)
                found.append({"mu": mean, "log_var": log_var, "z": node.values[0]})
    return found[0] if len(found) == 1 else {}


def _log_variance(graph: Graph, made: Mapping[str, Node], noise: object) -> str | None:
    """Returns log_var where `noise` is eps exp(log_var / 2), in either order."""
    product = _node(graph, made, noise, "mul")
    if product is None:
        return None
    factors = [product.arguments.get("self"), product.arguments.get("other")]
    for eps, deviation in (factors, factors[::-1]):
        if not isinstance(eps, Ref):
            continue
        source = made.get(_source(graph, made, eps.name))
        if source is None or not _is_standard_normal(source):
            continue
        root = _node(graph, made, deviation, "sqrt")
        inside = None if root is None else _node(graph, made, root.arguments.get("self"), "exp")
        whole = None if inside is None else inside.arguments.get("self")
        exponent = _node(graph, made, deviation, "exp")
        if exponent is not None:
            whole = _doubled(graph, made, exponent.arguments.get("self"))
        if isinstance(whole, Ref):
            return _source(graph, made, whole.name)
    return None


def _doubled(graph: Graph, made: Mapping[str, Node], half: object) -> object:
    """Returns x of 0.5 x or x / 2, else None."""
    for operator, factor in (("mul", 0.5), ("div", 2)):
        step = _node(graph, made, half, operator)
        parts = [] if step is None else list(step.arguments.values())[:2]
        if factor in parts and (operator == "mul" or parts[1] == factor):
            return parts[1 - parts.index(factor)]
    return None


def _is_standard_normal(node: Node) -> bool:
    if node.operator.split(".")[1] not in _NORMAL:
        return False
    return node.arguments.get("mean", 0) == 0 and node.arguments.get("std", 1) == 1


def _source(graph: Graph, made: Mapping[str, Node], name: str) -> str:
    """Returns the value that a value merely repeats: copied, or broadcast to the shape it has."""
    node, meta = made.get(name), graph.metas.get(name)
    while node is not None and node.operator in _REPEATS:
        given = node.arguments.get("self")
        if node.operator == "aten.broadcast_tensors.default":
            tensors = node.arguments["tensors"]
            given = dict(zip(node.values, tensors, strict=False)).get(name)
        if not isinstance(given, Ref) or graph.metas.get(given.name) != meta:
            break
        name = given.name
        node = made.get(name)
    return name


def _node(graph: Graph, made: Mapping[str, Node], value: object, operator: str) -> Node | None:
    """Returns the node that made a value, if it is of an operator, in place or not."""
    node = made.get(_source(graph, made, value.name)) if isinstance(value, Ref) else None
    names = (f"aten.{operator}", f"aten.{operator}_")
    return node if node is not None and node.operator.rpartition(".")[0] in names else None
