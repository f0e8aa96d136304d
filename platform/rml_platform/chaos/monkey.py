"""Draws rounds of faults over one study, plays them, and keeps the tally."""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from rml_platform.chaos.arena import Arena, MissedError, StuckError
from rml_platform.chaos.checks.fingerprints import Fingerprint, fingerprint
from rml_platform.chaos.checks.tally import Account, examine, is_in_order
from rml_platform.chaos.checks.tracking import make_empty
from rml_platform.chaos.cluster import OwnCluster
from rml_platform.chaos.faults.catalogue import FAULTS
from rml_platform.chaos.faults.fault import CLUSTER, LOCAL, PROCESS, Fault
from rml_platform.chaos.given_cluster import GivenCluster
from rml_platform.chaos.grounds import Grounds, OnThisMachine
from rml_platform.chaos.holding import python_path, write_hook
from rml_platform.chaos.launches import Launch
from rml_platform.chaos.tracking_server import TrackingServer
from rml_platform.launch.stop_signals import stopping_on_signals
from rml_platform.run.run_folder import RunFolder
from rml_trainers.errors import ConfigError, RmlError

EMPTY_DATABASE = "empty.db"
"""Beside the rounds."""
MOST_FAULTS = 3
"""In one round."""
LATEST = 0.9
"""Share of all steps after which no fault begins any more."""
ALWAYS = ("--set", "runtime.threads=1")
"""Sums are taken in one order then, whoever trains a run."""
QUICK_RULES = (
    *("--set", "retry.hang_at_least_s=120", "--set", "retry.hang_factor=3"),
    *("--set", "retry.lost=unlimited", "--set", "retry.hang=unlimited"),
    *("--set", "retry.communication=unlimited"),
)
"""More faults come in a minute here than in a month elsewhere."""


class ChaosError(RmlError):
    """The study cannot be used to inject faults into."""


@dataclass(frozen=True)
class Draw:
    """What happens in one round."""

    number: int
    grounds: str
    moments: tuple[tuple[float, str], ...]
    """Share of all steps that is done, and the fault that comes then."""
    rng: Random = field(compare=False)

    @property
    def faults(self) -> tuple[str, ...]:
        return tuple(name for _, name in self.moments)

    def at_once(self) -> "Draw":
        """The same faults, each as soon as there is somebody to do it to."""
        return replace(self, moments=tuple((0.0, name) for name in self.faults))


def draw_rounds(
    names: Sequence[str], grounds: Sequence[str], *, rounds: int, seed: int
) -> Iterator[Draw]:
    """The rounds of a seed, always the same. Every fault comes once before one comes again.

    Args:
        names: of the faults that may come.
        grounds: that there are.
    """
    if not usable(names, grounds):
        raise ConfigError(f"none of the faults {', '.join(names)} can be done on {grounds}")
    waiting = list[str]()
    for number in range(1, rounds + 1):
        rng = Random(f"{seed}/{number}")
        if not waiting:
            waiting = sorted(usable(names, grounds))
            Random(f"{seed}/{number}/order").shuffle(waiting)
        first = waiting.pop()
        place = rng.choice([ground for ground in grounds if ground in FAULTS[first].grounds])
        others = [name for name in sorted(usable(names, [place])) if name != first]
        others = [
            name for name in others if FAULTS[name].needs_server <= FAULTS[first].needs_server
        ]
        more = rng.sample(others, min(rng.randrange(MOST_FAULTS), len(others)))
        moments = sorted(rng.uniform(0, LATEST) for _ in range(1 + len(more)))
        chosen = rng.sample([first, *more], 1 + len(more))
        yield Draw(number, place, tuple(zip(moments, chosen, strict=True)), rng)


def usable(names: Sequence[str], grounds: Sequence[str]) -> list[str]:
    """The faults that can be done on some grounds."""
    return [name for name in names if set(FAULTS[name].grounds).intersection(grounds)]


@dataclass(frozen=True, kw_only=True)
class Monkey:
    """One study, and where faults are injected into it."""

    study: Path
    out: Path
    """Of all rounds; the study left alone lies in `undisturbed/`."""
    options: tuple[str, ...] = ()
    """Of every launch: `--set`, `--profile`, …"""
    address: str | None = None
    on_note: Callable[[str], None] = print

    def play(
        self, names: Sequence[str], grounds: Sequence[str], *, rounds: int, seed: int
    ) -> Iterator[Account]:
        """Play rounds one after the other; each account as soon as it is there. A round whose study
        was over before anything could be done to it is played once more, and sooner.

        Raises:
            ChaosError: the study does not come to its end even when it is left alone.
        """
        draws = list(draw_rounds(names, grounds, rounds=rounds, seed=seed))
        expected = self.undisturbed()
        # One cluster at a time, and not beside rounds that do without.
        for wants_cluster in (False, True):
            chosen = [draw for draw in draws if (draw.grounds == CLUSTER) is wants_cluster]
            if chosen:
                with self._grounds(wants_cluster, _hooked(chosen)) as found:
                    for draw in chosen:
                        with stopping_on_signals():  # where Ray's nodes have taken SIGTERM
                            account = self._round(draw, found[draw.grounds], expected)
                            if account.is_clean and not account.done:
                                account = self._round(draw.at_once(), found[draw.grounds], expected)
                        yield account

    @contextmanager
    def _grounds(self, wants_cluster: bool, is_hooked: bool) -> Iterator[Mapping[str, Grounds]]:
        if not wants_cluster:
            yield {
                PROCESS: OnThisMachine(PROCESS, "--without-ray"),
                LOCAL: OnThisMachine(LOCAL),
            }
        elif self.address is not None:
            with GivenCluster(self.address) as given:
                yield {CLUSTER: given}
        else:
            with OwnCluster(is_hooked=is_hooked) as cluster:
                yield {CLUSTER: cluster}

    def undisturbed(self) -> dict[str, Fingerprint]:
        """The runs of the study left alone, by id; trained now unless an earlier call did.

        Raises:
            ChaosError: it does not come to its end.
        """
        out = self.out / "undisturbed"
        out.mkdir(parents=True, exist_ok=True)
        kept = ["--out", str(out), "--tracking-uri", f"sqlite:///{out.resolve() / 'mlflow.db'}"]
        arguments = [str(self.study), *kept, *self.options, *ALWAYS, "--without-ray"]
        launch = Launch(arguments, out / "launch.log", {})
        launch.process.wait()
        found = {i: fingerprint(RunFolder.of(str(out), i)) for i in planned_runs(out)}
        if launch.exit_code != 0 or not found or None in found.values():
            raise ChaosError(
                f"{self.study} does not come to its end when it is left alone:\n{launch.said}"
            )
        return {run_id: own for run_id, own in found.items() if own is not None}

    def _round(self, draw: Draw, grounds: Grounds, expected: Mapping[str, Fingerprint]) -> Account:
        account = Account(number=draw.number, grounds=draw.grounds, faults=draw.faults)
        started = time.monotonic()
        folder = self.out / f"round-{draw.number:03d}"
        shutil.rmtree(folder, ignore_errors=True)
        with ExitStack() as stack:
            arena = self._arena(stack, folder.resolve(), grounds, draw, expected)
            stack.callback(arena.end)
            try:
                strike_all(arena, draw)
                arena.bring_to_end(lambda: is_in_order(arena, expected))
            except StuckError as error:
                account.note("crashed", [str(error)])
            for launch in arena.living:
                launch.end()
            examine(arena, expected, account)
        account.seconds = time.monotonic() - started
        if account.is_clean:
            shutil.rmtree(folder, ignore_errors=True)
        return account

    def _arena(
        self,
        stack: ExitStack,
        folder: Path,
        grounds: Grounds,
        draw: Draw,
        expected: Mapping[str, Fingerprint],
    ) -> Arena:
        out = folder / "out"
        out.mkdir(parents=True)
        (out / "cache").symlink_to((self.out / "undisturbed" / "cache").resolve())
        empty = self.out / EMPTY_DATABASE
        make_empty(empty)
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rml-chaos-")))
        server = None
        if any(FAULTS[name].needs_server for name in draw.faults):
            server = stack.enter_context(TrackingServer(folder / "mlflow", empty))
        else:
            shutil.copyfile(empty, out / "mlflow.db")
        environment = {}
        if _hooked([draw]) and draw.grounds != CLUSTER:  # there its nodes start the processes
            environment = {"PYTHONPATH": python_path(write_hook(folder / "hook"))}
        grounds.heal()
        grounds.forget_left()
        return Arena(
            study=self.study,
            options=(*self.options, *ALWAYS, *QUICK_RULES),
            folder=folder,
            temporary=temporary,
            steps={run_id: own.steps for run_id, own in expected.items()},
            grounds=grounds,
            tracking_uri=server.uri if server else f"sqlite:///{out / 'mlflow.db'}",
            tracking=server,
            environment=environment,
        )


def planned_runs(out: Path) -> list[str]:
    """Ids of the runs of the plan that was written last: an output folder also keeps those of a
    study that was another one then."""
    plans = sorted(out.glob("studies/*/plan*.json"), key=lambda file: file.stat().st_mtime_ns)
    runs = json.loads(plans[-1].read_bytes())["runs"] if plans else []
    return [str(run["run_id"]) for run in runs]


def strike_all(arena: Arena, draw: Draw) -> None:
    """Everything that a round does to its study; ends early where the study does."""
    arena.launch()
    for moment, name in draw.moments:
        if not arena.until(moment):
            arena.struck.append(f"{name}: not done, the study had come to its end")
            continue
        try:
            what = FAULTS[name].strike(arena, draw.rng)
        except MissedError as error:
            arena.struck.append(f"{name}: not done, {error}")
            continue
        except StuckError:
            arena.faults_done.append(name)
            raise
        arena.struck.append(f"{name}: {what}")
        arena.faults_done.append(name)


def possible(fault: Fault, address: str | None) -> bool:
    """Whether a fault can be done at all: nobody's cluster but our own is broken, or prepared."""
    return address is None or not (fault.owns_cluster or fault.needs_hook)


def _hooked(draws: Sequence[Draw]) -> bool:
    return any(FAULTS[name].needs_hook for draw in draws for name in draw.faults)
