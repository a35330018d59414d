"""The real thing: real processes, killed, cut off and restarted (docs/how-we-break-it.md)."""
