"""One module per command of `rml`."""
