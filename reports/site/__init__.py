"""A site in the report: building, meters, grid and coverage."""
