"""The agent's web server: TLS, credentials, limits and content."""
