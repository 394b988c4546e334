"""Create ledger rows from metrics in a Prometheus server."""
