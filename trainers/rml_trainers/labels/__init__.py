"""Pseudo labels: made from outputs, rectified by prototypes, stored for a stage, selected."""
