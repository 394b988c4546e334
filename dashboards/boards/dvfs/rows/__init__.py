"""Rows of the DVFS dashboard: one file each, with a SPEC."""
