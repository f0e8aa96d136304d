"""The command line of the benchmark. `rml bench` passes its words on to it, so that both have the same options."""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from rml_trainers.bench import evaluating, growth, labels, paper, reading, steps, tracing, ways
from rml_trainers.bench.part import LADDER, Bench
from rml_trainers.bench.publishing import Publisher, Result
from rml_trainers.bench.settings import SETTINGS, Setting
from rml_trainers.errors import ConfigError
from rml_trainers.networks.deeplab_v2 import DeepLabV2Config


@dataclass(frozen=True)
class Part:
    """One subject of the benchmark: what `rml bench NAME` runs."""

    title: str
    run: Callable[[Bench], Iterable[Result]]
    in_all: bool = True
    """Whether `all` includes it on every machine."""


PARTS: dict[str, Part] = {
    "step": Part("Training step", steps.run),
    "data": Part("Reading", reading.run),
    "eval": Part("Evaluation", evaluating.run),
    "labels": Part("Stored labels p⁰", labels.run),
    "options": Part("Options of a step", ways.run),
    "growth": Part("Growth of time and memory", growth.run),
    "floor": Part("Training step against its floor", steps.against_floor, in_all=False),
    "paper": Part("The paper's settings", paper.run, in_all=False),
    "trace": Part("Operators of a step", tracing.run, in_all=False),
}
NEEDS_PLATFORM = ("cell",)


def main(arguments: Sequence[str] | None = None, further: Mapping[str, Part] | None = None) -> None:
    """Run what the words ask for.

    Args:
        arguments: words after the command; default: those of the process.
        further: parts that the caller brings, which need more than this package.
    Raises:
        ConfigError: a part that needs the platform, or a setting that does not fit together.
    """
    parts = {**PARTS, **(further or {})}
    options = parser(parts).parse_args(arguments)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    setting = setting_of(options)
    publisher = Publisher(str(setting), json_file=options.json, markdown_file=options.markdown)
    data_root = os.environ.get("RML_DATA")
    with tempfile.TemporaryDirectory(prefix="rml-bench-") as folder:
        for name in wanted(options.part, parts):
            bench = Bench(
                setting=setting,
                folder=Path(folder),
                rounds=options.rounds,
                methods=LADDER if options.method is None else (options.method,),
                trace_file=options.trace,
                data_root=Path(data_root) if data_root else None,
            )
            publisher.section(parts[name].title, parts[name].run(bench))


def wanted(part: str, parts: Mapping[str, Part]) -> list[str]:
    """Parts to run: with a GPU, `all` takes the steps of all the paper's settings instead of those of one setting."""
    if part in NEEDS_PLATFORM and part not in parts:
        raise ConfigError(f"the benchmark {part!r} launches runs with Ray: call it as `rml bench {part}`")
    if part != "all":
        return [part]
    of_all = [name for name, entry in parts.items() if entry.in_all]
    return ["paper" if name == "step" else name for name in of_all] if torch.cuda.is_available() else of_all


def setting_of(options: argparse.Namespace) -> Setting:
    """The named setting with what the options change."""
    name = options.setting or ("cityscapes" if torch.cuda.is_available() else "small")
    setting, changes = SETTINGS[name], dict[str, object]()
    if options.backbone is not None:
        if not isinstance(setting.network, DeepLabV2Config):
            raise ConfigError(f"--backbone {options.backbone}: the setting {name} has no Deeplabv2; choose another")
        changes["network"] = replace(setting.network, backbone=options.backbone)
    if options.crop is not None:
        crop_px = (options.crop[0], options.crop[1])
        changes |= {"crop_px": crop_px, "size_px": (2 * crop_px[0], 2 * crop_px[1])}
    if options.batch is not None:
        changes["batch"] = (options.batch[0], options.batch[1])
    if options.classes is not None:
        changes["num_classes"] = options.classes
    if changes:
        changes["name"], changes["paper_steps"] = f"{name}, changed", None
    if options.precision is not None:
        changes["precision"] = options.precision
    if options.compile:
        changes["runtime"] = replace(setting.runtime, compile=True)
    return replace(setting, **changes)  # type: ignore[arg-type]


def parser(parts: Iterable[str]) -> argparse.ArgumentParser:
    """Options of `rml bench`."""
    options = argparse.ArgumentParser(prog="rml bench", description="Speed and memory as ratios measured in one run.")
    add = options.add_argument
    add("part", nargs="?", default="all", choices=sorted({*parts, *NEEDS_PLATFORM, "all"}), help="default: all")
    add("--setting", choices=SETTINGS, help="networks and sizes; default: cityscapes on a GPU, else small")
    add("--backbone", metavar="NAME", help="another timm backbone for Deeplabv2")
    add("--crop", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="other crops; images are twice as large")
    add("--batch", type=int, nargs=2, metavar=("LABELLED", "UNLABELLED"), help="images per step")
    add("--classes", type=int, metavar="K", help="number of classes")
    add("--precision", choices=("auto", "float32", "bfloat16"), help="of our networks; auto: bfloat16 on a GPU")
    add("--compile", action="store_true", help="our networks run through torch.compile")
    add("--method", choices=LADDER, help="with step and floor: only this one against its floor")
    add("--rounds", type=int, metavar="N", help="timed rounds; default: each part's own")
    add("--threads", type=int, metavar="N", help="torch's CPU threads; default: torch's own")
    add("--trace", type=Path, metavar="FILE", help="with the part trace: also write the profiler's trace")
    add("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    add("--markdown", type=Path, metavar="FILE", help="also append the tables to this file")
    return options
