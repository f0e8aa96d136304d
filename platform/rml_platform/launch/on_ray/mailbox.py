"""What a group of workers is told and tells: an actor between the process that hands runs out and
the workers, because Ray Train passes nothing on to workers that have begun."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Mailbox:
    """The runs of one group, one after the other. Every worker of the group reads the same."""

    idle_s: float
    """A group that gets no run for so long ends, and its room with it."""
    _posted: list[str] = field(default_factory=list)
    _num_answered: int = 0
    _nodes: set[str] = field(default_factory=set)
    _is_closed: bool = False
    _said: str = ""
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def post(self, task: str) -> int | None:
        """Give the group its next run; its number, or None where the group takes none any more."""
        async with self._changed:
            if self._is_closed:
                return None
            self._posted.append(task)
            self._changed.notify_all()
            return len(self._posted) - 1

    async def take(self, number: int, node: str) -> str | None:
        """The run with a number, waited for; None where the group is to end. `node` is the
        worker's."""
        self._nodes.add(node)
        while not await self._is_so_in_time(lambda: self._is_closed or len(self._posted) > number):
            async with self._changed:
                # A worker that waits while another one is still at the run before is not idle.
                if self._num_answered == len(self._posted):
                    self._close("")
        return self._posted[number] if len(self._posted) > number else None

    async def answer(self, *, is_last: bool) -> None:
        """The run that was taken last has ended, well or not: its folder says how."""
        async with self._changed:
            self._num_answered += 1
            if is_last:
                self._close("")
            self._changed.notify_all()

    async def close(self, said: str) -> None:
        """Nothing more is taken. `said`: what Ray Train says of the end of the group; empty where
        nothing is wrong."""
        async with self._changed:
            self._close(said)

    async def answered(self, number: int) -> str:
        """Wait until a run has ended, or its group has; what Ray Train says of that."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._num_answered > number or self._is_closed)
            return "" if self._num_answered > number else self._said

    async def nodes(self) -> set[str]:
        """The nodes that the workers are on, as far as they have begun."""
        return self._nodes

    def _close(self, said: str) -> None:
        self._is_closed = True
        self._said = self._said or said
        self._changed.notify_all()

    async def _is_so_in_time(self, is_so: Callable[[], bool]) -> bool:
        try:
            async with asyncio.timeout(self.idle_s), self._changed:
                await self._changed.wait_for(is_so)
        except TimeoutError:
            return False
        return True
