"""The building's calculations: meter tree, PUE, contracts, tariffs and water. Pure."""
