"""How runs reach a tracker; the run folders stay the truth."""
