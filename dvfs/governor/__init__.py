"""The governor: runs the policies of each group and applies the arbiter's decision."""
