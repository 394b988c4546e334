"""The journal: the open hour in SQLite, and sealing it into segments."""
