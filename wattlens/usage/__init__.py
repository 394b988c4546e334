"""`wattlens usage`: energy, cost and CO2e of a period by workload, owner, namespace, user, team, model, GPU or node.

`record` has the rows of a source: `ledger_rows` fills it from a ledger, `prometheus` from the counters of agents. `opened`
makes tables of a record, or of a fleet's compacted days; `sums` calculates a statement from them, and `statement` is the result
and its laws. `rates` adds money and grams, `output` writes it. `wattlens job` uses the same.
"""
