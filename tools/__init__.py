"""What is run in a checkout and never shipped: generators of documentation, RBAC rules, the shape of the code."""
