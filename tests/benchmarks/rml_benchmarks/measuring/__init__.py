"""Time, memory and operations, measured against each other in one run, and their tables."""
