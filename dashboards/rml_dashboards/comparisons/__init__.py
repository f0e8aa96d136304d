"""What the seeds of a filled table tell: rows against a named row, and over all columns."""
