"""HTTP: thin shells around controller and agent. What they decide is decided elsewhere."""
