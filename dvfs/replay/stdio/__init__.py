"""Open protocols: anyone can evaluate a policy on a plant or table of their own, over JSON lines."""
