"""The words of `python -m rml_benchmarks`: settings, parts, errors; and one part from words to
figures."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rml_benchmarks import gpu_evidence
from rml_benchmarks.command import main, parser, setting_of, wanted
from rml_benchmarks.measuring.timing import Comparison, compare
from rml_benchmarks.part import Bench
from rml_benchmarks.parts import options as ways
from rml_benchmarks.parts.evaluating import cadences
from rml_benchmarks.parts.product.cell import further_cells
from rml_benchmarks.parts.scaling import sizes
from rml_benchmarks.parts.steps import paper_cost
from rml_benchmarks.settings import SETTINGS, SMALLEST, Setting
from rml_benchmarks.workload.workload import METHOD_CONFIGS, Workload, make_trainer
from rml_trainers.errors import ConfigError
from rml_trainers.runtime.options import RuntimeConfig
from tests.support.bench_case import TINY_WORDS

pytestmark = pytest.mark.usefixtures("single_thread")


def setting(*words: str) -> Setting:
    return setting_of(parser().parse_args(["step", *words]))


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("no_gpu")
def test_a_cpu_takes_the_small_setting_and_a_gpu_the_papers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert setting() == SETTINGS["small"]
    assert wanted("all") == ["step", "data", "eval", "labels", "options", "scaling", "cell", "plan"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert setting() == SETTINGS["cityscapes"]
    assert wanted("all") == [
        "paper",
        "data",
        "eval",
        "labels",
        "options",
        "scaling",
        "cell",
        "plan",
    ]


def test_words_change_the_setting() -> None:
    changed = setting(
        "--setting", "voc", "--crop", "64", "96", "--batch", "2", "6", "--compile", "--classes", "5"
    )
    assert (changed.crop_px, changed.size_px, changed.batch) == ((64, 96), (128, 192), (2, 6))
    assert (changed.runtime.compile, changed.num_classes, changed.precision) == (True, 5, "auto")
    assert changed.paper_steps is None, "it is not the paper's setting any more"
    assert str(changed).startswith(
        "voc, changed: deeplab_v2 resnet101, crops 64×96 of images 128×192, batch 2 + 6"
    )


def test_precision_and_compilation_leave_the_papers_setting_what_it_is() -> None:
    same = setting("--setting", "voc", "--precision", "bfloat16", "--compile")
    assert (same.name, same.paper_steps) == ("voc", 60_000)
    assert (same.precision, same.runtime.compile) == ("bfloat16", True)


def test_one_method_alone_against_its_floor(tmp_path: Path) -> None:
    main(["floor", *TINY_WORDS, "--method", "iml", "--json", str(tmp_path / "f.json")])
    (section,) = json.loads((tmp_path / "f.json").read_text())["sections"]
    assert [table["title"] for table in section["tables"]] == ["iml against its floor"]


def test_gpu_evidence_measures_every_setting_that_wants_a_gpu() -> None:
    assert set(gpu_evidence.SETTINGS) == SETTINGS.keys() - {"small"}


@pytest.mark.parametrize(
    ("name", "backbone"),
    [
        ("voc", "test_resnet"),
        ("setr_base", "test_vit"),
        ("voc_v3_plus", "test_resnet"),
        ("voc_dpt", "test_vit"),
    ],
)
def test_every_network_has_a_floor_and_a_step_on_a_small_backbone(
    name: str, backbone: str, tmp_path: Path
) -> None:
    words = ("--setting", name, *TINY_WORDS, "--backbone", backbone)
    tiny = setting(*words)
    assert (tiny.network.name, tiny.name) == (SETTINGS[name].network.name, f"{name}, changed")
    workload = Workload(tiny, METHOD_CONFIGS["rml"], tmp_path, num_batches=1)
    workload.floor()(0)
    workload.step(0)
    assert workload.trainer.meter.read(1)["loss"] > 0


@pytest.mark.parametrize(
    ("part", "module"), [("cell", "cell"), ("plan", "planning"), ("records", "records")]
)
def test_cells_commands_and_records_want_the_platform(
    part: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, f"rml_benchmarks.parts.product.{module}", None)
    monkeypatch.delattr(f"rml_benchmarks.parts.product.{module}", raising=False)
    with pytest.raises(ConfigError, match=rf"'{part}' needs the whole product.* is not here"):
        main([part])


def test_one_part_from_words_to_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(
        [
            "eval",
            *TINY_WORDS,
            "--json",
            str(tmp_path / "f.json"),
            "--markdown",
            str(tmp_path / "f.md"),
        ]
    )
    (section,) = json.loads((tmp_path / "f.json").read_text())["sections"]
    timings, shares = section["tables"]
    assert [timing["name"] for timing in timings["timings"]][-1] == "training step"
    assert shares["columns"][2] == "share of training"
    assert (tmp_path / "f.md").read_text().strip() in capsys.readouterr().out


def test_help_names_parts_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    told = capsys.readouterr().out
    assert "--backbone NAME" in told and "cell" in told


def test_share_of_evaluation(tmp_path: Path) -> None:
    """Three evaluations of 500 images at half a step each, in 200,000 steps."""
    table = cadences(Bench(setting=SMALLEST, folder=tmp_path), 0.5)
    assert table.rows[0] == (
        "at the end of each stage (default)",
        3,
        3 * 500 * 0.5 / 200_000,
        "≤ 0.05",
    )
    assert table.rows[1][1] == 3 + 40


def test_cost_of_the_papers_schedule(tmp_path: Path) -> None:
    table = paper_cost(Bench(setting=SETTINGS["cityscapes"], folder=tmp_path), 0.48)
    assert table.rows[0][1:] == (0.48, 180_000 * 0.48 / 86_400)


def test_sizes_differ_from_the_base_in_one_thing() -> None:
    base, *others = sizes(SETTINGS["small"]).values()
    for other in others:
        fields = [name for name in vars(base) if getattr(base, name) != getattr(other, name)]
        assert fields in (["batch"], ["crop_px"], ["num_classes"]), fields
    (large,) = [other for other in sizes(SMALLEST).values() if other.crop_px != SMALLEST.crop_px]
    assert large.crop_px == (36, 48) and large.size_px == (36, 48), (
        "images are never smaller than a crop"
    )


def test_ways_differ_from_the_base_in_what_is_no_result(tmp_path: Path) -> None:
    base, *others = ways.settings(SMALLEST).values()
    for other in others:
        fields = {name for name in vars(base) if getattr(base, name) != getattr(other, name)}
        assert fields in ({"runtime"}, {"accumulate"}), fields
        trainer = make_trainer(other, METHOD_CONFIGS["rml"], tmp_path)
        assert (
            trainer.config.runtime == other.runtime
            and trainer.config.batch.accumulate == other.accumulate
        )


def test_options_of_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "peak_bytes", lambda *_: 1_000_000)
    (comparison,) = ways.run(Bench(setting=SMALLEST, folder=tmp_path, rounds=1))
    assert isinstance(comparison, Comparison)
    names = [timing.name for timing in comparison.timings]
    assert (names[0], names[-1]) == (ways.AS_IT_IS, "ProDA-style, float32, plain kernels")
    assert {f"runtime.activation_checkpointing: {what}" for what in ways.CHECKPOINTING} < set(names)
    compiled = replace(SMALLEST, runtime=RuntimeConfig(compile=True))
    ways_of_compiled = ways.settings(compiled).values()
    assert all(
        way.runtime.compile and way.runtime.activation_checkpointing == "auto"
        for way in ways_of_compiled
    )


def test_cost_of_a_further_cell() -> None:
    """A launch of 10 s with cells of 3 s, one of which is training."""
    seconds = {"bare loop, 3 cells": 3.0, "direct, 3 cells": 19.0, "direct, 1 cell": 13.0}
    seconds |= {"train, 3 cells": 19.0, "train, 1 cell": 13.0}
    now = [0.0]

    def call(name: str) -> object:
        now[0] += seconds[name]
        return None

    calls = {name: lambda index, name=name: call(name) for name in seconds}
    comparison = compare("t", calls, num_rounds=1, num_warm_up=0, clock=lambda: now[0])
    assert further_cells(comparison, 1.0).rows[0] == ("direct", 3.0, 2.0, 3.0, 10.0)
