"""The DVFS dashboard."""
