"""From recorded runs to figures and their files."""
