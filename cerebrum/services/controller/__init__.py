"""The global controller: accepts workflows, cuts them, gives their parts to clusters.

Everything here runs on the ports alone (`services/ports.py`), so the fault tests run it unchanged
on a virtual clock. One module per concern; what they share is `_context.py`, and a state is changed
nowhere but through `_change.py` and `_transitions.py`.
"""

from cerebrum.services.controller.controller import Controller
from cerebrum.services.controller.settings import ControllerSettings
from cerebrum.services.controller.submit import Submitted

__all__ = ["Controller", "ControllerSettings", "Submitted"]
