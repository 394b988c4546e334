"""The reader, a child process that reads the GPUs, and its supervisor."""
