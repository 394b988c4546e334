"""Former names of the training hooks, for one release: use `wattlens.hooks`."""
