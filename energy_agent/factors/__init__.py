"""Emission factors as dated data: a value never travels without its source, year, basis and licence."""
