"""Files of a run beside its records: what it reads, and the pictures it leaves."""
