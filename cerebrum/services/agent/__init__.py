"""The agent of one cluster (LCA): pulls tasks, stores them, places them, runs them, reports.

`Agent` is the whole of it. It is asyncio and ports only: clock, store, controller and executor come
from outside, so the fault simulator runs this very code in virtual time.
"""

from cerebrum.services.agent.agent import Agent
from cerebrum.services.agent.settings import AgentSettings

__all__ = ["Agent", "AgentSettings"]
