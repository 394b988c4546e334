"""Attacks by neighbours on a real agent, and what they may not change: memory, scrapes, energy, names."""
