"""Promotion: the candidate whose gates hold goes to where it is served from, with its model card and its lineage."""
