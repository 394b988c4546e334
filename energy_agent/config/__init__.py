"""The agent's configuration file as a typed model, one section per file."""
