"""The report's reading of the ledger: days, store, sums and attribution."""
