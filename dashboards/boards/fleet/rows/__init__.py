"""Rows of the fleet dashboard: one file each, with a SPEC."""
