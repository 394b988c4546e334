"""What a push to a Grafana server changes. Pure."""
