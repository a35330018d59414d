"""Stories of tokens that come from a file."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from cerebrum.model.errors import ConfigError
from cerebrum.services.api.auth import Scope, Tokens
from cerebrum.services.api.token_file import read_tokens, take_over
from cerebrum.services.clock import MachineClock
from cerebrum.services.store.database import Database

OPS, EAST, OTHER = "o" * 32, "e" * 40, "x" * 32


def written(path: Path, *entries: dict[str, str]) -> Path:
    path.write_text(json.dumps(entries))
    return path


def test_the_file_is_the_truth_for_its_own_tokens(tmp_path: Path) -> None:
    ops = {"name": "ops", "scope": "operator", "secret": OPS}
    east = {"name": "east", "scope": "agent", "cluster": "east", "secret": EAST}
    file = tmp_path / "tokens.json"

    async def story() -> None:
        async with Database(f"sqlite:///{tmp_path}/t.db") as store:
            tokens = Tokens(store, MachineClock())
            by_hand = await tokens.create("by-hand", Scope.VIEWER)
            await take_over(tokens, written(file, ops, east))
            await take_over(tokens, file)  # a restart changes nothing
            caller = await tokens.caller(EAST)
            assert caller is not None
            assert caller.cluster == "east"
            # A new secret replaces the old one; who left the file is out; others are untouched.
            await take_over(tokens, written(file, {**ops, "secret": OTHER}))
            assert [await tokens.caller(secret) for secret in (OPS, EAST)] == [None, None]
            assert await tokens.caller(OTHER) is not None
            assert await tokens.caller(by_hand) is not None
            # What was revoked by hand stays revoked, whatever the file says.
            await tokens.revoke("file:ops")
            await take_over(tokens, file)
            assert await tokens.caller(OTHER) is None

    asyncio.run(story())


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"name": "a", "scope": "operator", "secret": "short"}, "secret"),
        ({"name": "a", "scope": "king", "secret": OPS}, "scope"),
        ({"name": "a", "scope": "operator", "secret": OPS, "extra": "1"}, "extra"),
        ({"scope": "operator", "secret": OPS}, "name"),
    ],
)
def test_a_wrong_entry_is_named_without_its_secret(
    tmp_path: Path, entry: dict[str, str], problem: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_tokens(written(tmp_path / "t.json", entry))
    assert problem in str(caught.value)
    assert entry["secret"] not in str(caught.value)


def test_two_tokens_of_one_name_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    twin = {"name": "a", "scope": "operator", "secret": OPS}
    with pytest.raises(ConfigError, match="named twice"):
        read_tokens(written(tmp_path / "t.json", twin, twin))
    with pytest.raises(ConfigError, match="cannot be read"):
        read_tokens(tmp_path / "none.json")
