"""Charts as SVG, and the sentences that describe them."""
