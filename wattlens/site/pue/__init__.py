"""`wattlens pue`: the statement of a site's PUE."""
