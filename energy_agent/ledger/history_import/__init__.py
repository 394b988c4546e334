"""Ledger rows from metrics that a Prometheus has kept."""
