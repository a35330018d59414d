"""Policies that were trained: what they look at, their weights, and how they decide.

Nothing here imports torch: a trained policy is arrays in a `.safetensors` file, and is served by
NumPy and the engine's own compiled loop. Training is `cerebrum.learn`.
"""
