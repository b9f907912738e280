"""Seeded faults while jobs run on the test cluster, and what must hold all the same."""
