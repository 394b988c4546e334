"""Rows of the GPU dashboard: one file each, with a SPEC."""
