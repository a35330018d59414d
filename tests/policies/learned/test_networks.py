"""The NumPy networks: equal to torch and to ONNX Runtime, and blind to order and to the absent."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from cerebrum.model.errors import ConfigError, UnknownName
from cerebrum.policies.learned import onnx_export
from cerebrum.policies.learned.artefact import METADATA, Artefact
from cerebrum.policies.learned.bidder import Bidder
from cerebrum.policies.learned.networks import Mlp, layers, pooled
from tests.policies.learned import bidders, made


def _drawn(*sizes: int, seed: int = 3) -> dict[str, NDArray[Any]]:
    draw = np.random.default_rng(seed)
    found: dict[str, NDArray[Any]] = {}
    for i, (rows, columns) in enumerate(pairwise(sizes)):
        found[f"w{i}"] = draw.normal(size=(rows, columns)).astype(np.float32) / rows**0.5
        found[f"b{i}"] = draw.normal(size=columns).astype(np.float32)
    return found


@pytest.mark.needs(module="torch")
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_same_numbers_as_torch(activation: str) -> None:
    import torch

    weights = _drawn(9, 64, 64, 11)
    x = np.random.default_rng(4).random((1000, 9), np.float32)
    stack: list[Any] = []
    for i in range(3):
        layer = torch.nn.Linear(*weights[f"w{i}"].shape)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weights[f"w{i}"].T))
            layer.bias.copy_(torch.from_numpy(weights[f"b{i}"]))
        stack += [layer, torch.nn.ReLU() if activation == "relu" else torch.nn.Tanh()]
    with torch.no_grad():
        theirs = torch.nn.Sequential(*stack[:-1])(torch.from_numpy(x)).numpy()

    assert Mlp(weights, activation)(x) == pytest.approx(theirs, abs=1e-6)


def _run(model: bytes, **inputs: NDArray[Any]) -> list[NDArray[Any]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


@pytest.mark.needs(module="onnxruntime")
@pytest.mark.needs(module="onnx")
@pytest.mark.parametrize("nodes", [1, 1000])
def test_an_exported_bidder_bids_the_same(nodes: int) -> None:
    artefact = bidders.drawn()
    draw = np.random.default_rng(5)
    seen = draw.random((nodes, len(bidders.SCHEMA)), np.float32)
    mask = draw.random(nodes) < 0.8
    model = onnx_export.export(artefact)

    values, bids = _run(model, observation=seen, mask=mask)

    bidder = Bidder(artefact.weights)
    ours = bidder.values(seen)
    assert values == pytest.approx(ours, abs=2e-6 * float(np.abs(ours).max()))
    close = np.sort(ours, -1)[:, -1] - np.sort(ours, -1)[:, -2] < 1e-4
    assert (bids == bidder.bids(seen, mask))[~close].all()
    assert not bids[~mask].any()
    assert model == onnx_export.export(artefact)


@pytest.mark.needs(module="onnxruntime")
@pytest.mark.needs(module="onnx")
def test_an_exported_job_order_rates_the_same() -> None:
    draw = np.random.default_rng(6)
    shapes = {"inner": (3, 8), "bias": (8,), "outer": (8,), "direct": (3,)}
    weights = {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    artefact = Artefact(made.card(kind="job-order"), weights, made.statistics())
    x = draw.random((7, 3), np.float32)

    (ratings,) = _run(onnx_export.export(artefact), features=x)

    ours = np.maximum(x @ weights["inner"] + weights["bias"], 0) @ weights["outer"]
    assert ratings == pytest.approx(ours + x @ weights["direct"], abs=1e-5)


@pytest.mark.needs(module="onnxruntime")
@pytest.mark.needs(module="onnx")
@pytest.mark.parametrize("hidden", [0, 5])
def test_an_exported_node_scorer_scores_the_same(hidden: int) -> None:
    from cerebrum.policies.learned import node_scorer
    from cerebrum.policies.learned.node_features import KINDS, PRICES, SCHEMA

    draw = np.random.default_rng(8)
    flat = draw.normal(size=node_scorer.size(hidden))
    weights = node_scorer.arrays_of(flat, np.arange(float(PRICES)))
    artefact = Artefact(made.card(SCHEMA, kind="node-scorer"), weights, made.statistics(SCHEMA))
    x, kind = draw.random((20, len(SCHEMA))), np.arange(20) % len(KINDS)
    base = np.trunc(draw.random(20) * 100)

    (scores,) = _run(onnx_export.export(artefact), features=x, base=base, kind=kind)

    ours = [base[i] + node_scorer.correction(x[i], kind[i], flat) for i in range(20)]
    assert scores == pytest.approx(ours, abs=1e-9)


@pytest.mark.needs(module="onnx")
def test_the_card_goes_along() -> None:
    import onnx

    artefact = bidders.drawn()
    model = onnx.load_from_string(onnx_export.export(artefact))
    assert {p.key: p.value for p in model.metadata_props}[METADATA] == (
        artefact.card.model_dump_json()
    )


_rows = st.integers(1, 6).flatmap(
    lambda n: st.tuples(
        arrays(np.float32, (n, 3), elements=st.floats(-100, 100, width=32)),
        arrays(np.bool_, n),
        st.permutations(range(n)),
    )
)


@given(_rows)
def test_pooling_sees_neither_order_nor_the_absent(
    drawn: tuple[NDArray[np.float32], NDArray[np.bool_], list[int]],
) -> None:
    x, mask, order = drawn
    found = pooled(x, mask)

    hidden = np.where(mask[:, None], x, np.float32(np.nan))
    assert pooled(hidden, mask).tolist() == found.tolist()
    assert pooled(x[order], mask[order]) == pytest.approx(found, abs=1e-4)
    expected = x[mask].max(0) if mask.any() else np.zeros(3)
    assert found[3:].tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"w0": np.zeros((4, 4), np.float64)}, r"w0: expected float32\[inputs, outputs\]"),
        ({"b1": np.zeros(5, np.float32)}, r"b1: expected float32\[2\], got float32\[5\]"),
        ({"w1": np.zeros((3, 2), np.float32)}, r"w1: expected float32\[4, outputs\]"),
        ({"b0": None}, r"b0: expected float32\[4\], got nothing"),
        ({"w0": None}, "w0: expected"),
    ],
)
def test_layers_that_do_not_join_are_refused(change: dict[str, Any], said: str) -> None:
    weights = {k: v for k, v in (_drawn(4, 4, 2) | change).items() if v is not None}
    with pytest.raises(ConfigError, match=said):
        layers(weights)


def test_an_unknown_activation_is_refused() -> None:
    with pytest.raises(UnknownName, match="did you mean 'relu'"):
        Mlp(_drawn(2, 1), "relus")
