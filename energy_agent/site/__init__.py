"""`wattlens site`: one process per site that polls its meters, keeps its ledger and reports its PUE."""
