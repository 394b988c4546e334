"""Policies by which a device's energy is shared among its holders: one file = one policy = one `SPEC`. All pure."""
