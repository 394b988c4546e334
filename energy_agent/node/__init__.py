"""The node process: its loop, and the meters of the host around the GPUs."""
