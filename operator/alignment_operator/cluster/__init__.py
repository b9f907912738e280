"""The one adapter to the API server; nothing else of the operator talks to it, but kopf's watches."""
