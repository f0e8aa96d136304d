"""Faults injected into a study on purpose, and what is wrong with it afterwards: `rml chaos`."""
