"""Import of published emission factor tables."""
