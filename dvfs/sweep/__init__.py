"""Sweeps: which setting to measure next, and the profile they measure."""
