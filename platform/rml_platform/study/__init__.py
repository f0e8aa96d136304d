"""From YAML to a typed study and its checked cells."""
