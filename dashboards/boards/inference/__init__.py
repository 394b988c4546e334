"""The inference dashboard."""
