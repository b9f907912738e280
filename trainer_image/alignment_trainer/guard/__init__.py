"""Decides from the numbers of a training whether it ruins the model. Pure: `callbacks.guard` acts on it."""
