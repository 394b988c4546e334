"""Tools for a checkout, never shipped: generators of documentation, RBAC rules, statistics of the code layout."""
