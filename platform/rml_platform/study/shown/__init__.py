"""What a study shows beside its grid: figures, metrics, and numbers of others."""
