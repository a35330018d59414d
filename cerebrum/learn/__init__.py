"""Training: environments over the engine, and one trainer a file. The only room with torch.

What it makes is an artefact that `cerebrum.policies.learned` serves without this room.
"""
