"""How the embedded street scenes are painted."""
