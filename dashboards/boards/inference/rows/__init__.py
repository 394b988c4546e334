"""Rows of the inference dashboard: one file each, with a SPEC."""
