"""What a process of Ray loads while it waits for its first run: imported for that, by its name."""

import importlib

from rml_platform.launch.session.local_ray import SWEEP
from rml_trainers.runtime.loading import loading

with loading():
    for name in ("torch", SWEEP, "timm"):
        importlib.import_module(name)
