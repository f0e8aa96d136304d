"""Commands that read what was recorded and make something of it."""
