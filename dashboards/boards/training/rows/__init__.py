"""Rows of the training dashboard: one file each, with a SPEC."""
