"""Devices, workers, random draws: how a run is carried out, never what it computes."""
