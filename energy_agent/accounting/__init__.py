"""From samples to what is committed and published: the accounts of devices, node and workloads."""
