"""The Ray that a launch runs on: one of its own on this machine, or somebody's cluster."""
