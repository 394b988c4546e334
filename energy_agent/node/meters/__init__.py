"""Meters of the node around the GPUs: one file = one kind of meter = one `SPEC`."""
