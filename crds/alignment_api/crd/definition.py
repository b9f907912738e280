"""The CustomResourceDefinition of AlignmentJob."""

from __future__ import annotations

from typing import Any

from ..v1alpha1 import GROUP, KIND, PLURAL, SHORT_NAME, VERSION, AlignmentJob
from .schema import Schema, structural_schema

# What `kubectl get alignmentjobs` shows; priority 1 is shown by `-o wide`.
_COLUMNS: tuple[dict[str, Any], ...] = (
    {"name": "Method", "type": "string", "jsonPath": ".status.current.method"},
    {"name": "Stage", "type": "string", "jsonPath": ".status.current.stage"},
    {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
    {"name": "Step", "type": "string", "jsonPath": ".status.current.step"},
    {"name": "Loss", "type": "string", "jsonPath": ".status.current.loss"},
    {"name": "ETA", "type": "string", "jsonPath": ".status.current.eta"},
    {"name": "Restarts", "type": "integer", "jsonPath": ".status.restarts"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {
        "name": "Promoted",
        "type": "string",
        "jsonPath": '.status.conditions[?(@.type=="Promoted")].status',
        "priority": 1,
    },
)


def custom_resource_definition() -> dict[str, Any]:
    """The manifest of the CustomResourceDefinition, as plain data."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": [SHORT_NAME],
                # Not `all`: `kubectl delete all --all`, a habit for clearing out Pods, would delete weeks of training.
                "categories": ["alignment"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": list(_COLUMNS),
                    "schema": {"openAPIV3Schema": _resource_schema()},
                }
            ],
        },
    }


def _resource_schema() -> Schema:
    """The schema of the whole resource; what every resource has is described but left to the API server to check."""
    schema = structural_schema(AlignmentJob)
    schema["properties"] |= {
        "apiVersion": {
            "type": "string",
            "description": "Version of the API this resource is written in.",
        },
        "kind": {"type": "string", "description": "Kind of this resource."},
        "metadata": {"type": "object"},
    }
    return schema
