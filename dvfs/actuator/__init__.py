"""The actuator: the only process that changes a setting."""
