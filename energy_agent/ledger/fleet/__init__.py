"""A fleet's ledger: shipping segments, compacting them into Parquet, and indexing."""
