"""`wattlens agent` put together from its parts."""
