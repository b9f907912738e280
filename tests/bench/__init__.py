"""Benchmarks: ratios against a named peer or a physical limit. Run by `make bench`, not by the tests."""
