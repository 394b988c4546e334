"""What steering saved, from paired blocks."""
