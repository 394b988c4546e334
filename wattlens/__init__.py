"""Wattlens: energy and efficiency observability for GPU fleets, every joule accounted for once."""

__version__ = "0.1.0"
