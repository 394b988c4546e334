"""`wattlens site` put together from its parts."""
