"""Records of the actuator: the write-ahead journal and the history of settings."""
