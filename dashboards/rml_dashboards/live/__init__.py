"""A page that shows studies while they run, read from their plans and run folders."""
