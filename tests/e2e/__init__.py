"""Whole jobs on the test cluster, as a user runs them."""
