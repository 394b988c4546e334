"""Changes that a push makes on a Grafana server. Pure."""
