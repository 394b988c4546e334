"""Owners on a Kubernetes node: the kubelet's device assignments and the API server's pods."""
