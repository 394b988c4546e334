"""The report's figures, from evidence to the facts document."""
