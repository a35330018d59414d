"""Benchmarks: each justifies one number that the documentation states.

    python -m benchmarks --list
    python -m benchmarks --only NAME

A benchmark is one file `benchmarks/NAME.py` with a `BENCHMARK`; see `_harness.py`.
"""
