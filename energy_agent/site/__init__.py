"""`wattlens site`: one process a site that polls its meters, keeps its ledger and tells its PUE."""
