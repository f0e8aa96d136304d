"""The paper's own ladder of methods, from supervised training to `rml`."""
