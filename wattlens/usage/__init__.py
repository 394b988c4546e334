"""`wattlens usage`: energy, cost and CO2e of a period by workload, owner, namespace, user, team, model, GPU or node.

`record` has the rows of a source. `ledger_rows` fills it from a ledger's own rows, `compacted_days` from the days of a fleet,
`prometheus` from the counters of agents there; `wattlens job` uses the same. `sums` makes a statement of a record, and
`statement` is the result and its laws. `rates` adds money and grams, `output` writes it.
"""
