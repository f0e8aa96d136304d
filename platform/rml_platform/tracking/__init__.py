"""How runs reach the tracker; the run folders stay the truth."""
