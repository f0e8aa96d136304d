"""Figures within pages that stand alone."""
