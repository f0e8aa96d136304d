"""Looks at a folder of pictures that nobody has described and says how it can be read."""
