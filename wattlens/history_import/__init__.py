"""`wattlens ledger import`: a ledger from a Prometheus's history."""
