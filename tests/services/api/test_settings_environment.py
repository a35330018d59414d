"""What is not on the command line comes from the environment: tokens above all."""

from __future__ import annotations

import pytest

from cerebrum.services.api import lca
from cerebrum.services.api.settings import GccSettings, LcaSettings, load


def test_an_agents_token_in_the_environment_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it an agent on loopback answers everybody."""
    monkeypatch.setenv("CEREBRUM_API_TOKEN", "secret")
    assert load(LcaSettings, cluster_id="c").api_token.get_secret_value() == "secret"


def test_only_names_with_our_prefix_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CEREBRUM_DATABASE", "sqlite:///ours.db")
    monkeypatch.setenv("DATABASE", "sqlite:///theirs.db")
    monkeypatch.setenv("NAME", "theirs")
    settings = load(GccSettings)
    assert (settings.database, settings.name) == ("sqlite:///ours.db", "")


def test_what_bids_in_auctions_reaches_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CEREBRUM_AUCTION_BIDDER", "learned:mine")
    settings = load(LcaSettings, cluster_id="east")
    assert lca._agent_settings(settings, (), "").bidder == "learned:mine"


def test_a_candidates_limits_reach_its_rollout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CEREBRUM_CANDIDATE", "learned:job-order")
    monkeypatch.setenv("CEREBRUM_CANDIDATE_DEADLINE_S", "0.5")
    monkeypatch.setenv("CEREBRUM_CANDIDATE_PATIENCE_S", "3600")
    found = load(LcaSettings, cluster_id="east").rollout_settings()
    assert found is not None
    assert (found.deadline_s, found.patience_s) == (0.5, 3600)
