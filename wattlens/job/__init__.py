"""`wattlens job`: one job over its whole life, on all its nodes and through every restart.

`address` parses the job's name and matches workloads. `record` collects the rows of a job; `ledger_rows` fills it from a
ledger's segments, `compacted_days` from the days of a fleet, as `wattlens usage` reads them, and `prometheus` from the agents'
counters. `steps` counts the steps of the whole job, and `grid` reads the carbon intensity while it ran. `statement` is the
result and its laws, `output` and `efficiency` write it.
"""
