"""The API of alignment-operator: the AlignmentJob resource and the contract between operator and trainer.

This package imports neither kopf, nor the Kubernetes client, nor torch: operator, trainer and any client
program share it.
"""
