"""Layers in forms that are faster or leaner than torch's own, behind one door."""

from rml_trainers.networks.accelerate.door import (
    Acceleration,
    Recompute,
    accelerate,
    what_is_accelerated,
)

__all__ = ["Acceleration", "Recompute", "accelerate", "what_is_accelerated"]
