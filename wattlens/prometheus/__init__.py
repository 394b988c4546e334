"""Reading a Prometheus: access and raw samples."""
