"""Round robin: nodes take turns.

The k-th placement of the run tries node k mod n first, then the nodes after it, until one has room.
All nodes score alike; whose turn it is, is the tie rule `next`, which counts the binds so far.
"""

from __future__ import annotations

PROFILE = {"scores": [{"name": "constant"}], "ties": "next", "gpus": "first"}
