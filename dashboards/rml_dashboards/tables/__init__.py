"""From recorded runs to filled tables and their files."""
