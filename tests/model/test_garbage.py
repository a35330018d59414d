"""The collector waits while containers come into being, and goes on as it was."""

from __future__ import annotations

import gc

import pytest

from cerebrum.model.garbage import paused_gc


def fail_while_paused():
    with paused_gc():
        assert not gc.isenabled()
        with paused_gc():
            pass
        assert not gc.isenabled(), "who paused first says when it goes on"
        raise ValueError


def test_the_collector_waits_and_goes_on_even_after_an_error():
    assert gc.isenabled()
    with pytest.raises(ValueError):
        fail_while_paused()
    assert gc.isenabled()
