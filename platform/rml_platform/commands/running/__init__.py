"""Commands for runs that were launched: looked at, stopped, put in order."""
