"""The simulated building around a node: its truth, weather and meters."""
