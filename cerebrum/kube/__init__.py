"""Kubernetes objects <-> model nouns: pure translation, for files and for live clusters alike."""
