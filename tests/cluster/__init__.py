"""The test cluster: a real Kubernetes on one bare machine."""
