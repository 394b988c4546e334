"""Nodes that dashboards are drawn with, by the name of their instance: what a choice at the head of a dashboard picks."""

EVERYTHING = "node-1"
"""Four GPUs, every reading, every source: made, not simulated, so that what is rare is there as well."""
ONE_GPU, EIGHT_GPUS = "sim-1-gpu", "sim-8-gpus"
"""Real agents on simulated nodes."""
MANY_GPUS = "node-64-gpus"
