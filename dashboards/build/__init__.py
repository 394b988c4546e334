"""From Python to the committed JSON and YAML, and the check that they agree."""
