"""`paper`: step, peers and cost of the schedule at each of the paper's settings. Meant for a
GPU."""

from collections.abc import Iterator
from dataclasses import replace

from rml_benchmarks.measuring.publishing import Result
from rml_benchmarks.part import Bench
from rml_benchmarks.parts import steps
from rml_benchmarks.settings import SETTINGS


def run(bench: Bench) -> Iterator[Result]:
    """Everything that `step` shows, for every setting of the paper, in the precision that was asked
    for."""
    own = bench.setting
    for setting in SETTINGS.values():
        if setting.paper_steps is None:
            continue
        same = replace(setting, precision=own.precision, runtime=own.runtime)
        for result in steps.run(replace(bench, setting=same)):
            yield replace(result, title=f"{setting.name}: {result.title}")
