"""Signals from outside: usage, power, prices, carbon intensity as evenly spaced series."""
