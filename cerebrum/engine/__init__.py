"""Queue, state, event transitions, decision points, metrics from a log. Deterministic."""
