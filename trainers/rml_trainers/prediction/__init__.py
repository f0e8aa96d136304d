"""Predictions of a finished run on any image, and the pictures made of them."""
