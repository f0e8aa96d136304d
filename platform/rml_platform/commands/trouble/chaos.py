"""`rml chaos`: inject faults into a study and count what they did."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rml_platform.commands.options import DEFAULT_OUT, Address, DataRoot, Overrides, Profile

if TYPE_CHECKING:
    from rml_platform.chaos.checks.tally import Account

Faults = Annotated[
    list[str] | None,
    typer.Option(
        "--fault", metavar="NAME", help="Only this fault; may be repeated. See --list for all."
    ),
]
Grounds = Annotated[
    list[str] | None,
    typer.Option(
        "--on",
        metavar="process|local|cluster",
        help=(
            "Only launches in one process, on a Ray of their own, or on a cluster; may be repeated."
        ),
    ),
]
TallyFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        dir_okay=False,
        help="Append one line per round: command, round, time, faults done, what was wrong.",
    ),
]

NOTHING_DONE = (
    "rml: no fault of any round was done, so these rounds show nothing: each came when the study "
    "had come to its end, or found nothing to strike (said with each round above). Try a study "
    "that takes longer, or other faults"
)


def chaos(
    study: Annotated[
        Path | None, typer.Argument(metavar="STUDY.yaml", help="Study file; a small one.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often the study is trained.")] = 10,
    seed: Annotated[int, typer.Option(help="Of the faults that are drawn.")] = 0,
    fault: Faults = None,
    on: Grounds = None,
    address: Address = None,
    set_: Overrides = None,
    profile: Profile = None,
    out: Annotated[
        Path, typer.Option(help="Where all of it goes; what is in order is deleted again.")
    ] = DEFAULT_OUT / "chaos",
    data_root: DataRoot = None,
    tally: TallyFile = None,
    list_: Annotated[bool, typer.Option("--list", help="Say which faults there are.")] = False,
) -> None:
    """Train a study while things go wrong, and compare it with the same study left alone.

    Each round trains the study from its beginning and does up to three faults to it: processes are
    killed and stopped, nodes go and come, files are damaged, MLflow is away. Then it is launched
    until it is done, and what was lost, done twice, changed or left behind is counted. Without
    --address a cluster of three nodes is started on this machine; with it, nothing is done to the
    cluster itself, and --out has to be a folder that all of its machines share. Ctrl-C and SIGTERM
    end it with the tally so far. Exit code 1: something was not as it should be, and its folder is
    kept; or no fault of any round could be done.
    """
    from rml_platform.chaos.checks.tally import Account, render
    from rml_platform.chaos.faults.catalogue import FAULTS
    from rml_platform.chaos.faults.fault import GROUNDS
    from rml_platform.chaos.monkey import Monkey, possible
    from rml_platform.launch.stop_signals import exit_code_of, stopping_on_signals

    if list_:
        for name, one in FAULTS.items():
            typer.echo(f"{name:<24}{one.what} ({', '.join(one.grounds)})")
        return
    file = _study_file(study)
    _check_known(fault or [], list(FAULTS))
    _check_known(on or [], list(GROUNDS))
    names = [n for n in fault or FAULTS if possible(FAULTS[n], address)]
    options = _of_launches(set_, profile, data_root)
    monkey = Monkey(study=file.resolve(), out=out, options=options, address=address)
    _begin(tally)
    accounts = list[Account]()
    stopped_with: int | None = None
    try:
        with stopping_on_signals():
            for account in monkey.play(names, on or GROUNDS, rounds=rounds, seed=seed):
                accounts.append(account)
                _tell(account, seed, tally)
    except KeyboardInterrupt as stop:
        stopped_with = exit_code_of(stop)
    finally:  # a cluster whose head is lost ends it as well
        if accounts:
            said = f"rml chaos {file.name} --rounds {rounds} --seed {seed}"
            typer.echo(f"\n{said}\n\n{render(accounts)}")
    raise typer.Exit(_exit_code(accounts) if stopped_with is None else stopped_with)


def _exit_code(accounts: "Sequence[Account]") -> int:
    if not all(account.is_clean for account in accounts):
        return 1
    if not any(account.done for account in accounts):
        typer.echo(NOTHING_DONE, err=True)
        return 1
    return 0


def _begin(tally: Path | None) -> None:
    """Write the header, unless the file has something in it; hours before its first line."""
    if tally is None:
        return
    from rml_platform.chaos.checks.tally import TALLY_HEADER
    from rml_trainers.errors import ConfigError

    try:
        with tally.open("a") as file:
            if file.tell() == 0:
                file.write(f"{TALLY_HEADER}\n")
    except OSError as error:
        raise ConfigError(f"--tally {tally} cannot be written: {error.strerror}") from error


def _tell(account: "Account", seed: int, tally: Path | None) -> None:
    """One round that is over."""
    from rml_platform.chaos.checks.tally import in_words, tally_line

    typer.echo(in_words(account))
    if tally is not None:
        with tally.open("a") as file:
            file.write(f"{tally_line(account, seed)}\n")


def _of_launches(
    set_: list[str] | None, profile: str | None, data_root: Path | None
) -> tuple[str, ...]:
    options = [word for given in set_ or () for word in ("--set", given)]
    options += ["--profile", profile] if profile else []
    options += ["--data-root", str(data_root)] if data_root else []
    return tuple(options)


def _study_file(study: Path | None) -> Path:
    from rml_trainers.errors import ConfigError

    if study is None or not study.is_file():
        raise ConfigError(f"rml chaos needs a study file to train; {study} is none")
    return study


def _check_known(given: list[str], known: list[str]) -> None:
    from rml_trainers.configuration import suggest
    from rml_trainers.errors import ConfigError

    for name in given:
        if name not in known:
            raise ConfigError(f"there is no {name!r}; {suggest(name, known)}")
