"""The dashboards: one package each, its rows beside it."""
