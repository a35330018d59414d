"""What both servers import and compile at a start, done once: `warm` forks its processes off it."""

from cerebrum.cli import gcc, lca
from cerebrum.cli._app import build
from cerebrum.executors.kubernetes import leader, runs, scheduler
from cerebrum.policies import get_policy
from cerebrum.services.api import gcc as controller
from cerebrum.services.api import lca as agent
from cerebrum.services.controller import ControllerSettings, policies

__all__ = ["agent", "build", "controller", "gcc", "lca", "leader", "runs", "scheduler"]

policies.warm_up(ControllerSettings())
get_policy("first-fit")
