"""A Kubernetes cluster: our own client, informer and leader election on its HTTP API, and what
runs on them. The only room that talks to a Kubernetes API."""
