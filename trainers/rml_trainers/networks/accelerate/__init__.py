"""Layers in forms that are faster or leaner than torch's own, behind one door."""
