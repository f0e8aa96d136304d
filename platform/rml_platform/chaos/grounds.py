"""What the launches of a round stand on."""

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

import psutil

from rml_platform.chaos.launches import POLL_S, Launch, descendants, title
from rml_platform.chaos.targets import Target
from rml_platform.run.run_folder import Heartbeat

SOON_S = 10.0
"""How long something to strike is looked for."""


class Grounds(Protocol):
    """What launches stand on, and what can be done to it."""

    name: str

    def options(self) -> list[str]:
        """Of `rml launch`."""

    def trains(self, beat: Heartbeat) -> bool:
        """Whether the process that wrote the last word of a run lives."""

    def trainer(self, beat: Heartbeat) -> Target:
        """That process."""

    def actors(self, name: str, launches: Sequence[Launch]) -> list[Target]:
        """What carries out the runs of launches and has a name in its title, as soon as there is
        something; nothing after a while."""

    def heal(self) -> None:
        """Undo what faults have done to it, as far as that has to be done by hand."""

    def make_room(self) -> None:
        """See to it that a launch can be carried out at all."""

    def forget_left(self) -> None:
        """What is there now is none of the next round's."""

    def left(self, launches: Sequence[Launch]) -> list[str]:
        """What launches that are over have left on it."""


class OnThisMachine:
    """Launches that need nothing but this machine, where all of their processes are."""

    def __init__(self, name: str, *options: str) -> None:
        self.name = name
        self._options = options

    def options(self) -> list[str]:
        return list(self._options)

    def processes(self) -> list[psutil.Process]:
        """What carries runs out and is no child of a launch."""
        return []

    def trains(self, beat: Heartbeat) -> bool:
        return beat.worker.is_gone() is False

    def trainer(self, beat: Heartbeat) -> Target:
        return Target(beat.worker, "the trainer")

    def actors(self, name: str, launches: Sequence[Launch]) -> list[Target]:
        end = time.monotonic() + SOON_S
        while not (found := self._titled(name, launches)) and time.monotonic() < end:
            time.sleep(POLL_S)
        return found

    def _titled(self, name: str, launches: Sequence[Launch]) -> list[Target]:
        own = [process for one in launches for process in descendants(one.process.pid)]
        found = []
        for process in [*own, *self.processes()]:
            with suppress(psutil.NoSuchProcess):
                if name in (said := title(process)):
                    found.append(Target.here(process.pid, said))
        return found

    def heal(self) -> None: ...

    def make_room(self) -> None: ...

    def forget_left(self) -> None: ...

    def left(self, launches: Sequence[Launch]) -> list[str]:
        return []
