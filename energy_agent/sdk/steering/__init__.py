"""`steered`: a distributed training job that is steered as one."""
