"""The governor: asks the policies of each group and applies what the arbiter decides."""
