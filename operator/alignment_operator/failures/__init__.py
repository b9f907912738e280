"""Pure: from the state of Pods and Jobs to why an attempt failed, and what follows from it."""
