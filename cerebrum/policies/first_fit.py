"""First fit: the first node, and there the first GPUs, with room (Johnson, 1973).

Tasks that fit nowhere are passed over; `fcfs` is first fit with a queue that blocks.
"""

from __future__ import annotations

PROFILE = {"scores": [{"name": "constant"}], "ties": "first", "gpus": "first"}
