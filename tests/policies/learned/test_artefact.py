"""Model files: what goes in comes out, and what is not sound is refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from cerebrum.model.errors import ConfigError, InputError, UnknownName
from cerebrum.policies.learned import artefact as artefacts
from cerebrum.policies.learned.artefact import Artefact, Statistics
from cerebrum.policies.learned.drift import Usual
from cerebrum.policies.learned.schema import Feature, Schema
from tests.policies.learned import made


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path, given = tmp_path / "tiny.safetensors", made.artefact()
    artefacts.write(path, given)

    found = artefacts.read(path)

    assert found.card == given.card
    assert {name: array.tolist() for name, array in found.weights.items()} == {
        name: array.tolist() for name, array in given.weights.items()
    }
    assert found.statistics.quantiles.tolist() == given.statistics.quantiles.tolist()
    assert found.usual is None


def test_what_is_usual_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    usual = Usual.of([np.random.default_rng(1).random((600, 3))])
    artefacts.write(path, replace(made.artefact(), usual=usual))

    found = artefacts.read(path).usual

    assert found is not None
    assert found.quantiles.tolist() == usual.quantiles.tolist()
    assert found.wander.tolist() == usual.wander.tolist()


def test_the_same_artefact_gives_the_same_bytes(tmp_path: Path) -> None:
    """Else no recorded command could be shown to make the shipped file again."""
    for name in ("a", "b"):
        artefacts.write(tmp_path / name, made.artefact())

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def _written(path: Path, *, card: str | None = None, **tensors: Any) -> Path:
    """A file made without our own checks."""
    whole = made.artefact()
    found = {f"weights.{name}": array for name, array in whole.weights.items()}
    found |= {f"statistics.{name}": getattr(whole.statistics, name) for name in artefacts.FIELDS}
    found |= {name.replace("__", "."): value for name, value in tensors.items()}
    said = whole.card.model_dump_json() if card is None else card
    path.write_bytes(save({k: v for k, v in found.items() if v is not None}, {"cerebrum": said}))
    return path


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_no_number_is_refused(tmp_path: Path, bad: float) -> None:
    path = _written(tmp_path / "m", weights__out__bias=np.array([bad], np.float32))

    with pytest.raises(ConfigError, match=r"m: weights\.out\.bias: holds NaN or infinity"):
        artefacts.read(path)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"weights__extra": np.zeros(2, np.float16)}, r"weights\.extra: expected one of F32"),
        ({"weights__extra": np.zeros((0, 2), np.float32)}, "none empty"),
        ({"weights__extra": np.zeros((1,) * 5, np.float32)}, "0 to 4 dimensions"),
        ({"weights__a/b": np.zeros(2, np.float32)}, "expected a name"),
        ({"other": np.zeros(2, np.float32)}, "unknown array 'other'"),
        ({"statistics__mean": None}, "statistics: missing mean"),
        ({"statistics__std": -np.ones(3)}, "std >= 0"),
        ({"statistics__mean": np.zeros(3, np.float32)}, r"float64\[3\], got float32\[3\]"),
        ({"statistics__high": np.full(3, np.inf)}, r"statistics\.high: expected finite"),
        ({"usual__wander": np.zeros(3)}, "usual: missing quantiles"),
        ({"usual__wander": np.zeros(2), "usual__quantiles": np.zeros((7, 2))}, "3 features, got 2"),
        ({"usual__other": np.zeros(3)}, "unknown array 'usual.other'"),
    ],
)
def test_arrays_that_do_not_belong_are_refused(
    tmp_path: Path, tensors: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        artefacts.read(_written(tmp_path / "m", **tensors))


def test_statistics_of_other_features_are_refused() -> None:
    whole = made.artefact()

    with pytest.raises(ConfigError, match="each of the 3 features, got 2"):
        replace(whole, statistics=Statistics.of(np.zeros((4, 2))))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"speed": 1}, r"card\.speed: Extra inputs"),
        ({"kind": "oracle"}, r"card\.kind"),
        ({"name": "Not a name"}, r"card\.name"),
        ({"training_cpu_s": -1}, r"card\.training_cpu_s"),
        ({"version": "1"}, r"card\.version"),
        ({"about": ""}, r"card\.about"),
    ],
)
def test_a_card_is_taken_by_the_letter(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    card = json.dumps(json.loads(made.card().model_dump_json()) | change)

    with pytest.raises(ConfigError, match=message):
        artefacts.read(_written(tmp_path / "m", card=card))


def test_a_model_of_another_schema_is_refused_with_both_hashes_and_the_features() -> None:
    first, second, third = made.SCHEMA.features
    other = Schema("test", 1, (second, replace(third, scale=1000.0), Feature("new", "", 1.0, "")))

    with pytest.raises(ConfigError) as caught:
        made.card().require(other)

    said = str(caught.value)
    assert made.SCHEMA.hash in said
    assert other.hash in said
    assert "only in the model: cpu_free" in said
    assert "the model lacks: new" in said
    assert "another unit, scale or meaning: gpu_free" in said
    assert first.name not in other.names


def test_the_order_of_features_counts() -> None:
    turned = replace(made.SCHEMA, features=made.SCHEMA.features[::-1])

    with pytest.raises(ConfigError, match="another order"):
        made.card().require(turned)


def test_a_card_whose_hash_was_changed_is_refused() -> None:
    card = made.card()
    forged = card.observation.model_copy(update={"hash": "0" * 16})

    with pytest.raises(ConfigError, match="the card was changed"):
        card.model_copy(update={"observation": forged}).require(made.SCHEMA)


def test_pickles_and_strangers_are_refused(tmp_path: Path) -> None:
    for name, data in {
        "pickle": b"\x80\x04\x95" + b"x" * 40,
        "short": b"{}",
        "huge header": (2**40).to_bytes(8, "little") + b"{}" * 10,
        "no card": save({"weights.a": np.zeros(1, np.float32)}),
        "twice": (9).to_bytes(8, "little") + b'{"a":1,"a":1}'[:9] + b" " * 9,
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ConfigError, match=f"{name}: not a"):
            artefacts.read(tmp_path / name)


def test_a_file_that_is_too_large_or_missing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        artefacts.read(tmp_path / "none")
    path = _written(tmp_path / "m")
    monkeypatch.setattr(artefacts, "MAX_BYTES", 100)
    with pytest.raises(ConfigError, match="at most"):
        artefacts.read(path)


@given(data=st.data())
def test_damage_anywhere_is_an_error_of_ours_or_harmless(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Never another exception, whatever bytes were changed or cut off."""
    folder = tmp_path_factory.mktemp("damaged", numbered=True)
    whole = _written(folder / "m").read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    damaged = bytearray(whole[: data.draw(st.sampled_from([len(whole), place]))])
    if place < len(damaged):
        damaged[place] = data.draw(st.integers(0, 255))
    (folder / "m").write_bytes(damaged)
    try:
        found = artefacts.read(folder / "m")
    except InputError:
        return
    assert isinstance(found, Artefact)


def test_weights_are_asked_for_by_name_and_shape() -> None:
    whole = made.artefact()

    assert whole.weight("out.weight", 1, -1).shape == (1, 4)
    with pytest.raises(UnknownName, match=r"did you mean 'out\.weight'"):
        whole.weight("out.weights", 1, 4)
    with pytest.raises(ConfigError, match=r"float32\[2, 4\], got float32\[1, 4\]"):
        whole.weight("out.weight", 2, 4)


def test_what_was_never_seen_in_training_is_told() -> None:
    seen = Statistics.of(np.array([[0.0, 10.0], [1.0, 20.0]]))

    outside = seen.outside(np.array([[1.05, 10.0], [1.2, 25.0], [np.nan, 15.0]]))

    assert outside.tolist() == [[False, False], [True, True], [True, False]]


def test_names_lead_to_files() -> None:
    assert artefacts.find("here/mine.safetensors") == Path("here/mine.safetensors")
    with pytest.raises(UnknownName, match="unknown model 'nothing-of-ours'"):
        artefacts.find("nothing-of-ours")


def test_statistics_reach_as_far_as_what_was_chosen() -> None:
    seen = Statistics.of(np.array([[0.0, 10.0], [1.0, 20.0]]))

    wider = seen.reaching(np.array([[0.5, 40.0], [-1.0, 15.0]]))

    assert (wider.low.tolist(), wider.high.tolist()) == ([-1.0, 10.0], [1.0, 40.0])
    assert wider.mean.tolist() == seen.mean.tolist()
