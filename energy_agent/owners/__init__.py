"""Which pod, job or process uses which device, from the kernel and the scheduler."""
