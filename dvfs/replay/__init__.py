"""Policies replayed on measured tables and traces."""
