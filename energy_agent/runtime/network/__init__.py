"""Connections and sockets: the bounded HTTP client, TLS, the agent's socket, listeners."""
