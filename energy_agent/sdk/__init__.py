"""Measuring and counting inside a user's own program; published as `wattlens`."""
