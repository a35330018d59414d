"""Real control planes on loopback, and the tests that use them (docs/kubernetes-tests.md)."""
