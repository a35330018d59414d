"""The federation's production code on a virtual clock, network and disks, judged by a checker.

`python -m tests.faults --seeds 0:300` plays that many histories; `--seed 7 -v` one of them again.
How it works: docs/how-we-break-it.md.
"""
