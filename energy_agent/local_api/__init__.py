"""The agent's Unix socket for programs on its node."""
