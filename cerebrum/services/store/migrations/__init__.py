"""Revisions of the tables: `controller/` and `agent/`, each a chain of its own.

How to add one is said in `_migrate.py`. A file is named `NNNN_what.py`; its `revision` is
"controller_NNNN" or "agent_NNNN".
"""
