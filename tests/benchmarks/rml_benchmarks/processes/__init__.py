"""What is measured in processes of its own: memory of a fresh one, steps of several workers."""
