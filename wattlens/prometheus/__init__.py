"""Reading a Prometheus: access, raw samples, and prices of tokens with grid carbon intensities."""
