"""Tokens that inference servers count: endpoints, their responses, and energy per token."""
