"""Training policies replayed on measured tables."""
