"""The fleet dashboard."""
