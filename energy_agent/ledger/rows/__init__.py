"""The ledger's rows: kinds, text form, folding into cells, uncertainty and totals."""
