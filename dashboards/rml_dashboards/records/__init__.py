"""Recorded runs as tidy tables: the only readers of a tracking store."""
