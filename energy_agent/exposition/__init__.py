"""Write a snapshot as the text of /metrics."""
