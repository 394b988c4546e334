"""What the loops of the agent and the site process are made of."""
