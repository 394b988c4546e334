"""`wattlens job`: one job over its whole life, on all its nodes and through every restart.

The readers of `wattlens usage` read its rows. `sums` adds them up, and `steps` counts the steps of the whole job. `grid` reads
the carbon intensity while it ran. `statement` is the result and its laws, `output` and `efficiency` write it.
"""
