"""Rows of the stack dashboard: one file each, with a SPEC."""
