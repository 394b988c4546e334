"""The configuration file of `wattlens site` as a typed model."""
