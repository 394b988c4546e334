"""`measure`: the energy of a block of code."""
