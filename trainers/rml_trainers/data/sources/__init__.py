"""One adapter per data set: it knows a layout on disk and nothing else."""
