"""Meters: their readings, the energy between two readings, and the place of a meter in a building."""
