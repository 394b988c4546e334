"""The facility dashboard."""
