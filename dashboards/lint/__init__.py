"""The linter of the built dashboards."""
