"""`wattlens compare`: whether two sets of runs differ in energy."""
