"""Segment files: writing, reading, and verifying their hash chain."""
