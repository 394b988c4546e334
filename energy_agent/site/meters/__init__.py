"""Meters of the building: one file = one kind of source = one `SPEC`."""
