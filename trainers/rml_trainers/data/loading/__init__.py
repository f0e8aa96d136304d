"""From prepared images to the batches of a step."""
