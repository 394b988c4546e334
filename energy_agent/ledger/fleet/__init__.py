"""A fleet's ledger: ship segments, compact them into Parquet, and index them."""
