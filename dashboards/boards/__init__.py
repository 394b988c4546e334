"""The dashboards: one package each, with its rows in a subpackage."""
