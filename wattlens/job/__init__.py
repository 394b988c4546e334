"""`wattlens job`: one job over its whole life, on all its nodes and through every restart.

The readers of `wattlens usage` read its rows. `sums` adds them up. `grid` reads the carbon intensity while it ran.
`statement` is the result and its laws, with the steps of the whole job; `output` writes it.
"""
