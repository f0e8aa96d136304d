"""Noise, drawn apart from applied: what is drawn is a small value made on the CPU, applying it is
pure tensor maths."""
