"""Zeus's power-limit optimizer, whose settings go through the node's agent."""
