"""The dashboards: one package each, whose files define its rows as `SPEC`."""
