"""A model file as ONNX, for runtimes other than ours; built from the arrays, without torch.

    bidder       observation [nodes, F], mask [nodes] -> values [nodes, 11], bids [nodes]
    node-scorer  features [nodes, F], base [nodes], kind [nodes] -> scores [nodes]
    job-order    features [jobs, F] -> ratings [jobs]

Rows are free. Features are those of the card's schema, each over its scale, in its order: what
computes them is not part of the file. The card goes along in the model's metadata.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cerebrum.model.errors import MissingDependency
from cerebrum.policies.learned.artefact import METADATA, Artefact
from cerebrum.policies.learned.networks import layers

OPSET, IR_VERSION = 17, 9
"""Old enough for every runtime of the last years."""


class Graph:
    """Nodes and constants of a graph as it is put together."""

    def __init__(self) -> None:
        from onnx import helper, numpy_helper

        self._helper, self._numpy = helper, numpy_helper
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, *inputs: str | NDArray[Any], name: str = "", **about: Any) -> str:
        """One operation; arrays become constants. The name of what comes out."""
        out = name or f"{operator.lower()}_{len(self.nodes)}"
        names = [x if isinstance(x, str) else self._constant(x) for x in inputs]
        self.nodes.append(self._helper.make_node(operator, names, [out], **about))
        return out

    def _constant(self, array: NDArray[Any]) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(self._numpy.from_array(np.ascontiguousarray(array), name))
        return name


Ports = list[tuple[str, type[np.generic], tuple[int | str, ...]]]
"""Name, element type and shape of inputs or outputs; a text stands for any size."""


def export(artefact: Artefact) -> bytes:
    """The model as ONNX. Raises `MissingDependency`, `ConfigError` for weights that make none."""
    try:
        from onnx import TensorProto, checker, helper
    except ImportError:
        raise MissingDependency("ONNX export", "onnx") from None
    graph = Graph()
    inputs, outputs = _KINDS[artefact.card.kind](artefact, graph)
    kinds: dict[type[np.generic], Any] = {
        np.float32: TensorProto.FLOAT, np.float64: TensorProto.DOUBLE,
        np.int64: TensorProto.INT64, np.bool_: TensorProto.BOOL,
    }  # fmt: skip

    def ports(given: Ports) -> list[Any]:
        return [
            helper.make_tensor_value_info(port, kinds[kind], size) for port, kind, size in given
        ]

    made = helper.make_graph(
        graph.nodes, artefact.card.name, ports(inputs), ports(outputs), graph.constants
    )
    model = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
        producer_name="cerebrum", doc_string=artefact.card.about,
    )  # fmt: skip
    helper.set_model_props(model, {METADATA: artefact.card.model_dump_json()})
    checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def write(path: Path, artefact: Artefact) -> None:
    """Write `export` to a file, all at once."""
    data = export(artefact)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(data)
    partial.replace(path)


def _bidder(artefact: Artefact, graph: Graph) -> tuple[Ports, Ports]:
    found = layers(artefact.weights)
    x = "observation"
    for i, (w, b) in enumerate(found):
        last = i + 1 == len(found)
        x = graph.add("Add", graph.add("MatMul", x, w), b, name="values" if last else "")
        x = x if last else graph.add("Relu", x)
    best = graph.add("ArgMax", x, axis=-1, keepdims=0)
    graph.add("Where", "mask", best, np.zeros((), np.int64), name="bids")
    seen, bids = found[0][0].shape[0], found[-1][0].shape[1]
    return (
        [("observation", np.float32, ("nodes", seen)), ("mask", np.bool_, ("nodes",))],
        [("values", np.float32, ("nodes", bids)), ("bids", np.int64, ("nodes",))],
    )


def _job_order(artefact: Artefact, graph: Graph) -> tuple[Ports, Ports]:
    seen = len(artefact.card.observation.features)
    hidden = artefact.weight("bias", -1)
    inner = artefact.weight("inner", seen, len(hidden))
    unit = graph.add("Relu", graph.add("Add", graph.add("MatMul", "features", inner), hidden))
    learnt = graph.add("MatMul", unit, artefact.weight("outer", len(hidden)))
    straight = graph.add("MatMul", "features", artefact.weight("direct", seen))
    graph.add("Add", learnt, straight, name="ratings")
    return [("features", np.float32, ("jobs", seen))], [("ratings", np.float32, ("jobs",))]


def _node_scorer(artefact: Artefact, graph: Graph) -> tuple[Ports, Ports]:
    """`node_scorer`: base + L[kind] . x + sum over units of v x tanh(U . [x, kind, 1])."""
    seen = len(artefact.card.observation.features)
    linear = artefact.weight("linear", -1, seen, dtype=np.float64)
    kinds = len(linear)
    units = np.zeros((0, seen + kinds + 2))
    if "hidden" in artefact.weights:
        units = artefact.weight("hidden", -1, seen + kinds + 2, dtype=np.float64)
    chosen = graph.add("Gather", linear, "kind", axis=0)
    product = graph.add("Mul", chosen, "features")
    total = graph.add("ReduceSum", product, np.array([-1], np.int64), keepdims=0)
    if len(units):
        drive = graph.add("MatMul", "features", units[:, :seen].T)
        bias = units[:, seen : seen + kinds].T + units[:, seen + kinds]
        drive = graph.add("Add", drive, graph.add("Gather", bias, "kind", axis=0))
        learnt = graph.add("MatMul", graph.add("Tanh", drive), units[:, -1])
        total = graph.add("Add", total, learnt)
    graph.add("Add", total, "base", name="scores")
    return (
        [("features", np.float64, ("nodes", seen)), ("base", np.float64, ("nodes",)),
         ("kind", np.int64, ("nodes",))],
        [("scores", np.float64, ("nodes",))],
    )  # fmt: skip


_KINDS: dict[str, Callable[[Artefact, Graph], tuple[Ports, Ports]]] = {
    "bidder": _bidder,
    "job-order": _job_order,
    "node-scorer": _node_scorer,
}
