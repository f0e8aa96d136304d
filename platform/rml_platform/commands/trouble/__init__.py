"""Commands that look for trouble, and into it."""
