"""Carbon intensity of the grid: polled, stored, and recalled as it was known at a time."""
