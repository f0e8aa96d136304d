"""What a process of Ray loads while it waits for its first run: imported for that, by its name."""

import importlib

from rml_platform.launch.session.local_ray import SWEEP
from rml_trainers.runtime.loading import look_seldom_for_cycles

look_seldom_for_cycles()
for name in ("torch", SWEEP, "timm"):
    importlib.import_module(name)
