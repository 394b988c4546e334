"""`wattlens demo`: the whole stack on a simulated node."""
