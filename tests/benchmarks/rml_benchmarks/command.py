"""The command line of the benchmark. `python -m rml_benchmarks --help` lists the options."""

import argparse
import importlib
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import torch

from rml_benchmarks.measuring.publishing import Publisher, Result
from rml_benchmarks.part import LADDER, Bench
from rml_benchmarks.parts import (
    evaluating,
    labels,
    options,
    paper,
    reading,
    scaling,
    steps,
    tracing,
)
from rml_benchmarks.settings import SETTINGS, Setting
from rml_trainers.errors import ConfigError


@dataclass(frozen=True)
class Part:
    """One subject of the benchmark: what `python -m rml_benchmarks NAME` runs."""

    title: str
    run: Callable[[Bench], Iterable[Result]]
    in_all: bool = True
    """Whether `all` includes it on every machine."""


def of_the_platform(name: str, module: str) -> Callable[[Bench], Iterable[Result]]:
    """A part that needs the whole product, imported when it is asked for."""

    def run(bench: Bench) -> Iterable[Result]:
        try:
            found = importlib.import_module(f"rml_benchmarks.parts.{module}")
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"the benchmark {name!r} needs the whole product, with Ray, and {error.name} is "
                f"not here: call it as `make setup && .venv/bin/python -m rml_benchmarks {name}`"
            ) from error
        results: Iterable[Result] = found.run(bench)
        return results

    return run


HAS_PLATFORM = find_spec("ray") is not None
PARTS: dict[str, Part] = {
    "step": Part("Training step", steps.run),
    "data": Part("Reading", reading.run),
    "eval": Part("Evaluation", evaluating.run),
    "labels": Part("Stored labels p⁰", labels.run),
    "options": Part("Options of a step", options.run),
    "scaling": Part("Scaling of time and memory", scaling.run),
    "cell": Part("Cost of a cell", of_the_platform("cell", "product.cell"), in_all=HAS_PLATFORM),
    "overhead": Part(
        "Cost of a grid", of_the_platform("overhead", "product.overhead"), in_all=False
    ),
    "scale": Part("Thousands of cells", of_the_platform("scale", "product.scale"), in_all=False),
    "plan": Part("Commands", of_the_platform("plan", "product.planning"), in_all=HAS_PLATFORM),
    "records": Part(
        "Tables of many runs", of_the_platform("records", "product.records"), in_all=False
    ),
    "ledger": Part(
        "Tables of very many runs", of_the_platform("ledger", "product.ledger"), in_all=False
    ),
    "report": Part("Reports", of_the_platform("report", "product.report"), in_all=False),
    "floor": Part("Training step against its floor", steps.against_floor, in_all=False),
    "paper": Part("The paper's settings", paper.run, in_all=False),
    "trace": Part("Operators of a step", tracing.run, in_all=False),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the words ask for.

    Args:
        arguments: words after the command; default: those of the process.
    Raises:
        ConfigError: a part that needs the platform, or a setting that does not fit together.
    """
    chosen = parser().parse_args(arguments)
    if chosen.threads is not None:
        torch.set_num_threads(chosen.threads)
    setting = setting_of(chosen)
    publisher = Publisher(str(setting), json_file=chosen.json, markdown_file=chosen.markdown)
    data_root = os.environ.get("RML_DATA")
    with tempfile.TemporaryDirectory(prefix="rml-bench-") as folder:
        for name in wanted(chosen.part):
            bench = Bench(
                setting=setting,
                folder=Path(folder),
                rounds=chosen.rounds,
                methods=LADDER if chosen.method is None else (chosen.method,),
                num_runs=chosen.runs,
                trace_file=chosen.trace,
                data_root=Path(data_root) if data_root else None,
            )
            publisher.section(PARTS[name].title, PARTS[name].run(bench))


def wanted(part: str) -> list[str]:
    """Parts to run: with a GPU, `all` takes the steps of all the paper's settings instead of those
    of one setting."""
    if part != "all":
        return [part]
    of_all = [name for name, entry in PARTS.items() if entry.in_all]
    return (
        ["paper" if name == "step" else name for name in of_all]
        if torch.cuda.is_available()
        else of_all
    )


def setting_of(chosen: argparse.Namespace) -> Setting:
    """The named setting with what the options change."""
    name = chosen.setting or ("cityscapes" if torch.cuda.is_available() else "small")
    setting = SETTINGS[name]
    changes = dict[str, object]()
    if chosen.backbone is not None:
        changes["network"] = replace(setting.network, backbone=chosen.backbone)
    if chosen.crop is not None:
        crop_px = (chosen.crop[0], chosen.crop[1])
        changes |= {"crop_px": crop_px, "size_px": (2 * crop_px[0], 2 * crop_px[1])}
    if chosen.batch is not None:
        changes["batch"] = (chosen.batch[0], chosen.batch[1])
    if chosen.classes is not None:
        changes["num_classes"] = chosen.classes
    if changes:
        changes["name"] = f"{name}, changed"
        changes["paper_steps"] = None
    if chosen.precision is not None:
        changes["precision"] = chosen.precision
    if chosen.compile:
        changes["runtime"] = replace(setting.runtime, compile=True)
    return replace(setting, **changes)  # type: ignore[arg-type]


def parser() -> argparse.ArgumentParser:
    """Options of `python -m rml_benchmarks`."""
    words = argparse.ArgumentParser(
        prog="python -m rml_benchmarks",
        description="Speed and memory as ratios measured in one run.",
    )
    add = words.add_argument
    add("part", nargs="?", default="all", choices=sorted({*PARTS, "all"}), help="default: all")
    add(
        "--setting",
        choices=SETTINGS,
        help="networks and sizes; default: cityscapes on a GPU, else small",
    )
    add("--backbone", metavar="NAME", help="another timm backbone")
    add(
        "--crop",
        type=int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="other crops; images are twice as large",
    )
    add("--batch", type=int, nargs=2, metavar=("LABELLED", "UNLABELLED"), help="images per step")
    add("--classes", type=int, metavar="K", help="number of classes")
    add(
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        help="of our networks; auto: bfloat16 on a GPU",
    )
    add("--compile", action="store_true", help="our networks run through torch.compile")
    add("--method", choices=LADDER, help="with step and floor: only this one against its floor")
    add("--rounds", type=int, metavar="N", help="timed rounds; default: each part's own")
    add(
        "--runs",
        type=_hundreds,
        default=10_000,
        metavar="N",
        help="with records, ledger: runs of the largest store, a multiple of 100; default: "
        "%(default)s",
    )
    add("--threads", type=int, metavar="N", help="torch's CPU threads; default: torch's own")
    add(
        "--trace",
        type=Path,
        metavar="FILE",
        help="with the part trace: also write the profiler's trace",
    )
    add("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    add("--markdown", type=Path, metavar="FILE", help="also append the tables to this file")
    return words


def _hundreds(word: str) -> int:
    number = int(word)
    if number <= 0 or number % 100:
        raise argparse.ArgumentTypeError(f"{word} is no positive multiple of 100")
    return number
