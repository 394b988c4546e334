"""The training dashboard."""
