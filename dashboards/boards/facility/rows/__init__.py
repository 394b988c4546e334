"""Rows of the facility dashboard: one file each, with a SPEC."""
