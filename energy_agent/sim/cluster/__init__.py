"""The simulated Kubernetes node: kubelet, API server and pods."""
