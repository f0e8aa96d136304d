"""The nodes of the connected Ray: what they can hold, and whether they can train at all."""
