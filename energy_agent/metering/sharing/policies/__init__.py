"""Policies that share a device's energy among its owners: one file, one policy, one `SPEC`. All pure."""
