"""What is said of runs: what they cost, and where they stand."""
