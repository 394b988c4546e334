"""Carbon intensity of the grid: one file = one source = one `SPEC`."""
