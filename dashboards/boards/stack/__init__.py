"""The dashboard of Wattlens itself."""
