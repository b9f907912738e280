"""Pure builders of the Kubernetes objects of an AlignmentJob: same arguments, same manifest."""
