"""Files: owners and modes, JSON, YAML and secrets, and the copy of the last good configuration."""
