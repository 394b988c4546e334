"""Who may come in to the agent's web server, how, and how often: TLS, credentials, limits, and the pages themselves."""
