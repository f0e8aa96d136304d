"""Predictions of recorded runs on image files."""

from rml_platform.views.prediction.recorded import RecordedNetwork, load_recorded, recorded_task

__all__ = ["RecordedNetwork", "load_recorded", "recorded_task"]
