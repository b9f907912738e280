"""Asks running gangs how far they are."""
