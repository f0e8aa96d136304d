"""Methods by name: each in one short file with its configuration, its equation and its step."""
