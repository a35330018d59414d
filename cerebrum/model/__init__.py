"""Nouns, units, errors and protocols. Imports nothing of ours."""
