"""The models as Kubernetes sees them: structural schema, CustomResourceDefinition and field reference."""
