"""Whether the nodes of a cluster can carry out the runs of a launch, seen to before anything
starts."""

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from rml_dashboards.contract.uris import without_secrets
from rml_platform.environment import code_hash
from rml_platform.launch.on_ray.fleet.newcomers import Unfit
from rml_platform.launch.on_ray.fleet.probe import Answer, NoAnswer, Question, answer, ask
from rml_platform.launch.on_ray.fleet.room import Node, nodes_now, workers_on
from rml_platform.run.faults.outages import is_outage, until_it_answers
from rml_platform.run.files.input_store import InputStore
from rml_platform.run.files.inputs import InputFinder, LocalInput
from rml_platform.run.task import RunTask
from rml_trainers.errors import ConfigError

NUM_NAMED = 5
TIMES_ASKED = 2
"""A node that is alive and says nothing may be very busy, or have lost the process that was
asked."""
OWN_DISK = "fails on its own disk"
Ask = Callable[[Sequence[Node], Question], Mapping[str, Answer | NoAnswer]]


class Readiness:
    """What the nodes of a cluster need for the runs of one launch, and which of them have it."""

    def __init__(
        self,
        tasks: Sequence[RunTask],
        on_note: Callable[[str], None],
        *,
        is_shipped: bool = False,
        ask_nodes: Ask = ask,
        look: Callable[[], list[Node]] = nodes_now,
    ) -> None:
        """
        Args:
            is_shipped: the code was sent along, so that a node cannot have another.
            look: at the nodes that are alive.
        Raises:
            ConfigError: a file that a run reads is not on this machine.
        """
        finder = InputFinder()
        by_task = [finder.inputs_of(task) for task in tasks]
        self._inputs = {one.stored.name: one for found in by_task for one in found}
        self.tasks = [
            replace(task, inputs=tuple(one.stored for one in found))
            for task, found in zip(tasks, by_task, strict=True)
        ]
        self._storage = tasks[0].storage
        self._question = Question(
            storage=self._storage,
            launch_id=tasks[0].launch_id,
            plugins=tuple({p.location: p for task in tasks for p in task.plugins}.values()),
            inputs=tuple(one.stored for one in self._inputs.values()),
        )
        self._sizes = tuple({task.size: task for task in tasks}.values())
        self._needs_drivers = any(task.execution == "train" for task in tasks)
        self._on_note = on_note
        self._is_shipped = is_shipped
        self._ask = ask_nodes
        self._look = look
        self._in_storage = set[str]()

    def make(self, nodes: Sequence[Node] | None = None) -> None:
        """Ask the nodes, refuse where one cannot do it, and store what one lacks. Nodes that have
        died meanwhile are forgotten.

        Inputs are stored where a node does not have them in place, and always where the storage is
        not a folder: nodes that join later have to find them.

        Raises:
            ConfigError: nodes run other code, do not reach the storage, or cannot write what they
                have to on their own disks; names them.
        """
        nodes = self._concerned(self._look() if nodes is None else nodes)
        answers = self._answers(nodes)
        nodes = [node for node in nodes if node.id in answers]
        own = replace(answer(replace(self._question, plugins=(), inputs=())), lacking=frozenset())
        faults = {node.id: self._fault(answers[node.id], own) for node in nodes}
        bad = {id_: fault.reason for id_, fault in faults.items() if fault}
        if bad:
            raise ConfigError(self._refusal(nodes, bad))
        found = [one for one in answers.values() if isinstance(one, Answer)]
        lacking = set[str]().union(*(one.lacking for one in found))
        self._store(set(self._inputs) if "://" in self._storage else lacking)

    def judge(self, nodes: Sequence[Node]) -> dict[str, Unfit]:
        """Nodes that joined later and cannot do it, by id, with the reason."""
        answers = self._ask(self._concerned(nodes), self._question)
        own = answer(replace(self._question, plugins=(), inputs=()))
        faults = {id_: self._fault(found, own) for id_, found in answers.items()}
        for id_, found in answers.items():
            if not faults[id_] and isinstance(found, Answer):
                missing = found.lacking - self._in_storage
                if missing:
                    self._store(missing)
        return {id_: fault for id_, fault in faults.items() if fault}

    def _answers(self, nodes: Sequence[Node]) -> dict[str, Answer | NoAnswer]:
        """The answers of nodes by id. Those that say nothing are asked again, and left out where
        they are no longer alive."""
        answers = dict(self._ask(nodes, self._question))
        for times_left in reversed(range(TIMES_ASKED)):
            silent = _silent(answers)
            if not silent:
                break
            alive = {node.id for node in self._look()}
            answers = {id_: found for id_, found in answers.items() if id_ not in silent - alive}
            again = [node for node in nodes if node.id in silent & alive]
            if again and times_left:
                names = ", ".join(node.host or node.id[:8] for node in again[:NUM_NAMED])
                self._on_note(f"{len(again)} nodes gave no answer and are asked again: {names}")
                answers |= self._ask(again, self._question)
        return answers

    def _concerned(self, nodes: Sequence[Node]) -> list[Node]:
        """Nodes that something of this launch may be on: with Ray Train all, because the drivers of
        its groups need nothing that a node could lack."""
        return [
            node
            for node in nodes
            if self._needs_drivers or any(workers_on(node, task) > 0 for task in self._sizes)
        ]

    def _store(self, names: Collection[str]) -> None:
        store = InputStore(self._storage)
        for name in sorted(names):
            one: LocalInput = self._inputs[name]
            until_it_answers(functools.partial(store.put, name, one.files, self._on_note))
            self._in_storage.add(name)

    def _fault(self, found: Answer | NoAnswer, own: Answer) -> Unfit | None:
        """Why a node cannot carry out the runs, and whether that may pass; None where it can. Of
        several reasons one that stays."""
        if isinstance(found, NoAnswer):
            return Unfit(found.reason, may_pass=found.is_silent)
        if found.code != own.code:
            return Unfit(f"has rml {found.version}, content {found.code}")
        if (found.python, found.torch) != (own.python, own.torch):
            return Unfit(
                f"has Python {found.python} with torch {found.torch}, this machine Python "
                f"{own.python} with torch {own.torch}"
            )
        for name, wanted in own.packages.items():
            there = found.packages[name]
            if there != wanted:
                return Unfit(f"has {name} {there}, this machine {name} {wanted}")
        for plugin in self._question.plugins:
            content = found.plugins[plugin.location]
            if content != plugin.hash:
                return Unfit(f"has another {plugin.location} or none ({content})")
        if found.storage_error:
            said = f"does not see the storage {self._storage}: {found.storage_error}"
            return Unfit(without_secrets(said), may_pass=is_outage(found.storage_error))
        if found.disk_error:
            return Unfit(f"{OWN_DISK}: {found.disk_error}", may_pass=True)
        return None

    def _refusal(self, nodes: Sequence[Node], bad: Mapping[str, str]) -> str:
        hosts = {node.id: f"{node.host or 'node'} ({node.id[:8]})" for node in nodes}
        named = [f"{hosts[id_]} {why}" for id_, why in list(bad.items())[:NUM_NAMED]]
        more = [f"and {len(bad) - NUM_NAMED} more"] if len(bad) > NUM_NAMED else []
        whys = list(bad.values())
        remedy = f"This launch runs rml with content {code_hash()}. "
        if any("does not see the storage" in why for why in whys):
            remedy = (
                "Give --storage a folder that all nodes share, or a URI (s3://…) that all of them "
                "reach and have the credentials for"
            )
        elif all(OWN_DISK in why for why in whys):
            remedy = "Mend that there, or leave these nodes out of the cluster"
        elif self._is_shipped:
            remedy += "Its code was sent along (--ship); what it imports has to be installed there"
        else:
            remedy += (
                "Install the same version with what it needs on all nodes, or send this one along "
                "with --ship"
            )
        return (
            f"{len(bad)} of {len(nodes)} nodes cannot carry out this launch, nothing was started: "
            f"{'; '.join((*named, *more))}. {remedy}"
        )


def _silent(answers: Mapping[str, Answer | NoAnswer]) -> set[str]:
    """Ids of the nodes that said nothing."""
    return {
        id_ for id_, found in answers.items() if isinstance(found, NoAnswer) and found.is_silent
    }
