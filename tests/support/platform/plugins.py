"""Plug-ins in tests: loaded for the time of a block, gone without a trace afterwards."""

import contextlib
import sys
from collections.abc import Iterator

from rml_platform.plugins import registries
from rml_trainers.settings.plugins import LOADED


@contextlib.contextmanager
def no_plugin_stays() -> Iterator[None]:
    """Dictionaries, modules and loaded plug-ins are afterwards what they were."""
    before = {kind: dict(entries) for kind, entries in registries().items()}
    modules = set(sys.modules)
    loaded = dict(LOADED)
    try:
        yield
    finally:
        for kind, entries in registries().items():
            entries.clear()
            entries.update(before[kind])
        for plugin in LOADED.keys() - loaded.keys():
            own = LOADED[plugin].name
            for name in set(sys.modules) - modules:
                if name == own or name.startswith(f"{own}."):
                    del sys.modules[name]
        LOADED.clear()
        LOADED.update(loaded)
