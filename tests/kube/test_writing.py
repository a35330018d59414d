"""What is written reads back the same."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from cerebrum.kube.constraints import read_constraints
from cerebrum.kube.fields import Fields
from cerebrum.kube.peers import read_peers
from cerebrum.kube.requests import pod_resources
from cerebrum.kube.writing import placement_fields, port_fields
from cerebrum.model import quantity
from cerebrum.model.constraints import Constraints, Requirement, Term, Toleration
from cerebrum.model.peers import HostPort, PeerRules, PeerSelector, PeerTerm, Spread

WORDS = st.sampled_from(["a", "b", "c.io/d"])
VALUES = st.lists(WORDS, min_size=1, max_size=2, unique=True).map(tuple)
SETS = st.builds(Requirement, WORDS, st.sampled_from(["In", "NotIn"]), VALUES)
EXISTENCE = st.builds(Requirement, WORDS, st.sampled_from(["Exists", "DoesNotExist"]))
NUMBERS = st.builds(Requirement, WORDS, st.sampled_from(["Gt", "Lt"]), st.just(("5",)))
SELECTED = st.lists(SETS | EXISTENCE, max_size=2, unique=True).map(tuple)
TERMS = st.builds(
    Term,
    st.lists(SETS | EXISTENCE | NUMBERS, max_size=2).map(tuple),
    st.lists(st.just(Requirement("metadata.name", "In", ("n0",))), max_size=1).map(tuple),
)
CONSTRAINTS = st.builds(
    Constraints,
    st.dictionaries(WORDS, WORDS).map(lambda pairs: tuple(sorted(pairs.items()))),
    st.lists(TERMS, max_size=2).map(tuple),
    st.lists(st.tuples(st.integers(1, 100), TERMS), max_size=2).map(tuple),
    st.lists(
        st.builds(Toleration, WORDS, st.just("Equal"), WORDS, st.sampled_from(["", "NoExecute"])),
        max_size=2,
    ).map(tuple),
)
NOBODY = st.just(PeerSelector(namespaces=("a",), nothing=True))
SELECTORS = NOBODY | st.builds(
    PeerSelector,
    SELECTED,
    st.lists(WORDS, min_size=1, max_size=2, unique=True).map(lambda found: tuple(sorted(found))),
    st.none() | SELECTED,
)
PEER_TERMS = st.builds(PeerTerm, SELECTORS, WORDS)
WISHES = st.lists(st.tuples(st.integers(1, 100), PEER_TERMS), max_size=2).map(tuple)
# An empty selector of a spread counts nobody.
SOMETHING = st.lists(SETS | EXISTENCE, min_size=1, max_size=2, unique=True).map(tuple)
OWN = NOBODY | st.builds(PeerSelector, SOMETHING, st.just(("a",)))


def spreads(domains: st.SearchStrategy[int]) -> st.SearchStrategy[tuple[Spread, ...]]:
    one = st.builds(Spread, OWN, WORDS, st.integers(1, 9), domains, st.booleans(), st.booleans())
    return st.lists(one, max_size=2, unique_by=lambda spread: spread.topology_key).map(tuple)


RULES = st.builds(
    PeerRules,
    near=st.lists(PEER_TERMS, max_size=2).map(tuple),
    apart=st.lists(PEER_TERMS, max_size=2).map(tuple),
    spread=spreads(st.integers(1, 5)),
    ports=st.lists(
        st.builds(
            HostPort,
            st.integers(1, 65535),
            st.sampled_from(["TCP", "UDP", "SCTP"]),
            st.sampled_from(["0.0.0.0", "10.0.0.1"]),
        ),
        max_size=2,
        unique=True,
    ).map(tuple),
    prefer_near=WISHES,
    prefer_apart=WISHES,
    prefer_spread=spreads(st.just(1)),
)


@settings(max_examples=150, deadline=None)
@given(CONSTRAINTS, RULES)
def test_placement_written_and_read_again_is_the_same(constraints: Constraints, rules: PeerRules):
    spec = placement_fields(constraints, rules)
    spec["containers"] = [{"name": "main", "ports": port_fields(rules.ports)}]
    assert read_constraints(Fields.of(spec)) == constraints
    assert read_peers(Fields.of({}), Fields.of(spec), "a") == rules


@given(st.integers(0, 2**32), st.sampled_from(["", "m", "k", "Ki", "Mi", "Gi"]))
def test_a_quantity_is_never_less_than_what_was_asked(amount: int, suffix: str):
    text = f"{amount}{suffix}"
    exact = quantity.parse_quantity(text)
    spec = Fields.of({"containers": [{"resources": {"requests": {"cpu": "1", "memory": text}}}]})
    found = pod_resources(Fields.of({}), spec, Fields.of({})).memory_mib
    assert found * 2**20 >= exact > (found - 1) * 2**20
