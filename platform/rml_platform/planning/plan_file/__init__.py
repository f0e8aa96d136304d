"""The plan of a study as a file that commands go by."""
