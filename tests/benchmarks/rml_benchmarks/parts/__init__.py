"""The parts of the benchmark: one module per question that it answers."""
