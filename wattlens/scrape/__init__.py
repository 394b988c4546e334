"""Reading an agent's /metrics: access and response."""
