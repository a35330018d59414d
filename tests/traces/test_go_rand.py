"""The replay of Go's math/rand against outputs recorded from Go itself (go 1.26).

The recorded values come from a Go program that called, on ``rand.New(rand.NewSource(seed))``
and in this order: Uint64, Int63, Int, Uint32, Int31n(1000), Int31n(64), Int31n(2**30 + 1),
Int63n(2**62 + 1), Intn(8152), Intn(2**33 + 5), Float64, Perm(8), Shuffle of 0..7, and, after
20,000 more words, Uint64 again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from cerebrum.traces._go_rand import GoRand


@dataclass(frozen=True)
class Recorded:
    """Outputs of one Go generator, in the order of the calls."""

    seed: int
    uint64: int
    int63: int
    int: int
    uint32: int
    int31n_1000: int
    int31n_64: int
    int31n_huge: int
    int63n_huge: int
    intn_8152: int
    intn_wide: int
    float64: float
    perm: tuple[int, ...]
    shuffle: tuple[int, ...]
    after_20000_more: int


RECORDED = (
    Recorded(
        seed=0,
        uint64=8717895732742165505,
        int63=2259404117704393152,
        int=6050128673802995827,
        uint32=233405013,
        int31n_1000=515,
        int31n_64=32,
        int31n_huge=413258767,
        int63n_huge=1543572285742637646,
        intn_8152=1624,
        intn_wide=3621544627,
        float64=0.8497802817628735,
        perm=(4, 6, 1, 7, 5, 2, 0, 3),
        shuffle=(6, 0, 4, 2, 5, 1, 7, 3),
        after_20000_more=11176665492314544690,
    ),
    Recorded(
        seed=42,
        uint64=12663951391086054483,
        int63=608747136543856411,
        int=5571782338101878760,
        uint32=896869500,
        int31n_1000=423,
        int31n_64=33,
        int31n_huge=825591176,
        int63n_huge=3532963341805492868,
        intn_8152=843,
        intn_wide=4441174806,
        float64=0.2179415745756228,
        perm=(7, 3, 4, 6, 2, 5, 0, 1),
        shuffle=(3, 4, 7, 6, 5, 1, 2, 0),
        after_20000_more=12585687215619768515,
    ),
    Recorded(
        seed=-42,
        uint64=5782451830478893995,
        int63=8611643025839646947,
        int=3653247762971254806,
        uint32=3396674436,
        int31n_1000=456,
        int31n_64=30,
        int31n_huge=401366106,
        int63n_huge=3264113762919053222,
        intn_8152=7781,
        intn_wide=7057943610,
        float64=0.6385382527979683,
        perm=(0, 1, 2, 4, 3, 7, 5, 6),
        shuffle=(2, 7, 0, 3, 1, 6, 4, 5),
        after_20000_more=1752374190961867830,
    ),
    Recorded(
        seed=1099511627776,
        uint64=14693609398577170170,
        int63=6322525149314491254,
        int=1177463506020107830,
        uint32=729012147,
        int31n_1000=845,
        int31n_64=54,
        int31n_huge=591952038,
        int63n_huge=1963463810538189359,
        intn_8152=631,
        intn_wide=7246529554,
        float64=0.5941532296634219,
        perm=(2, 0, 7, 3, 6, 4, 1, 5),
        shuffle=(4, 2, 0, 5, 6, 7, 1, 3),
        after_20000_more=2773701669324407208,
    ),
    Recorded(
        seed=-9223372036854775808,
        uint64=7681445645332086223,
        int63=6777158040660201103,
        int=8748006033234207912,
        uint32=3782561357,
        int31n_1000=327,
        int31n_64=48,
        int31n_huge=817160849,
        int63n_huge=1273801526286186951,
        intn_8152=4455,
        intn_wide=408431576,
        float64=0.3785601757631259,
        perm=(0, 4, 6, 7, 5, 1, 3, 2),
        shuffle=(5, 6, 7, 2, 1, 0, 3, 4),
        after_20000_more=4692254824738818414,
    ),
)


@pytest.mark.parametrize("expected", RECORDED, ids=lambda r: f"seed {r.seed}")
def test_every_method_replays_go(expected: Recorded) -> None:
    go = GoRand(expected.seed)
    assert go.uint64() == expected.uint64
    assert go.int63() == expected.int63
    assert go.int() == expected.int
    assert go.uint32() == expected.uint32
    assert go.int31n(1000) == expected.int31n_1000
    assert go.int31n(64) == expected.int31n_64
    assert go.int31n(2**30 + 1) == expected.int31n_huge
    assert go.int63n(2**62 + 1) == expected.int63n_huge
    assert go.intn(8152) == expected.intn_8152
    assert go.intn(2**33 + 5) == expected.intn_wide
    assert go.float64() == expected.float64
    assert tuple(go.perm(8)) == expected.perm
    assert tuple(go.shuffle_indices(8).tolist()) == expected.shuffle
    go.skip(20_000)
    assert go.uint64() == expected.after_20000_more


def test_shuffle_calls_swap_like_shuffle_indices() -> None:
    things = list("abcdefghijklmnop")
    order = GoRand(7).shuffle_indices(len(things))

    def swap(i: int, j: int) -> None:
        things[i], things[j] = things[j], things[i]

    original = np.array(things)
    GoRand(7).shuffle(len(things), swap)
    assert things == original[order].tolist()


def test_seeds_equal_modulo_the_lehmer_modulus_give_the_same_numbers() -> None:
    assert GoRand(5).uint64() == GoRand(5 + 2**31 - 1).uint64()


@pytest.mark.parametrize("n", [0, -1, 2**31])
def test_int31n_refuses_bounds_outside_its_range(n: int) -> None:
    with pytest.raises(ValueError, match="int31n"):
        GoRand(1).int31n(n)
