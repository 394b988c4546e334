"""The reader, the child process that reads the GPUs, and the supervisor that keeps one alive."""
