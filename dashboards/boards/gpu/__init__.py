"""The dashboard of a node and its GPUs."""
