"""Measured power and throughput of LLM inference, and what the GPU models of the replay give for the same work."""
