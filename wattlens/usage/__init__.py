"""`wattlens usage`: energy, cost and CO2e of a period by workload, owner, namespace, user, team, model, GPU or node.

`statement` is the result and its laws. `ledger_rows` makes one from a ledger's own rows, `compacted_days` from the days of a
fleet, `prometheus` from an agent's counters there. `rates` adds money and grams, `output` writes it.
"""
