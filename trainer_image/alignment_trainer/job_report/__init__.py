"""A job's report: one HTML page for people and ``report.json`` for programs, made from what its workspace has.

Loads none of the training stack: the supervisor writes it.
"""

from .writing import Written, write

__all__ = ["Written", "write"]
