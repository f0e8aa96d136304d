"""The one training loop: it owns time, from the first step to the final scores."""
