"""The `figures` of a study file: what is accepted, what is refused, and which runs and steps they
come to."""

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from rml_dashboards.errors import DashboardError
from rml_dashboards.figures.specification import FigureSpec
from rml_dashboards.studies.figures import figure_specs
from rml_platform.launch.outcomes import LaunchReport
from rml_platform.launch.output_layout import OutputLayout
from rml_platform.planning.plan_file.written_plan import WrittenPlan
from rml_platform.study.cells import Study
from rml_platform.study.schema import load_study
from rml_platform.study.shown.figure_config import FigureConfig
from rml_platform.views.summary import print_launch
from rml_trainers.errors import ConfigError
from tests.support.platform.plans import written
from tests.support.platform.studies import STUDY, write_study
from tests.support.recorded import Store

FIGURES = """\
figures:
  - {name: all, metric: train/loss}
  - name: pair
    title: Two
    metrics: {after: train/a, before: train/b}
    rows: [RML]
    columns: ["1/2"]
    from_stage: 1
    to_stage: 1
    scale: 100
    smoothing: 3
    y_range: [0, 100]
"""


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> WrittenPlan:
    folder = tmp_path_factory.mktemp("study")
    return written(load_study(write_study(folder, STUDY + FIGURES)), folder)


def with_figure(plan: WrittenPlan, **changes: object) -> WrittenPlan:
    """The plan with one figure, that of all rows and columns with changes."""
    figure = FigureConfig(**{"name": "f", "metric": "train/loss", **changes})  # type: ignore[arg-type]
    return replace(plan, figures=(figure,))


def specs(plan: WrittenPlan) -> tuple[FigureSpec, ...]:
    """The figures of a written plan."""
    return figure_specs(plan)


def test_a_figure_without_labels_has_every_run_of_the_table(planned: WrittenPlan) -> None:
    everything, _ = specs(planned)
    assert everything.rows == ("Supervised", "RML")
    assert everything.columns == ("1/4", "1/2")
    assert everything.title == planned.title
    expected = {(c.row, c.column, c.seed): run.run_id for c, run in planned.cells}
    assert {(r.row, r.column, r.seed): r.run_id for r in everything.runs} == expected
    assert {(r.first_step, r.last_step) for r in everything.runs} == {(0, None)}


def test_labels_metrics_and_stage_are_taken_over(planned: WrittenPlan) -> None:
    _, pair = specs(planned)
    assert [(m.label, m.key) for m in pair.metrics] == [("after", "train/a"), ("before", "train/b")]
    assert [(r.row, r.column, r.seed) for r in pair.runs] == [("RML", "1/2", 0), ("RML", "1/2", 1)]
    assert {(r.first_step, r.last_step) for r in pair.runs} == {(4, 8)}, (
        "warm-up of 4 steps, stage 1 of 4"
    )
    assert (pair.title, pair.scale, pair.smoothing, pair.y_range) == ("Two", 100, 3, (0, 100))
    assert pair.x_label == "training step since stage 1 began"


@pytest.mark.parametrize(
    ("stages", "first", "last"),
    [({}, 0, None), ({"to_stage": 0}, 0, 4), ({"from_stage": 1}, 4, None)],
)
def test_stages_become_steps_also_for_supervised_runs(
    planned: WrittenPlan, stages: dict[str, int], first: int, last: int | None
) -> None:
    (spec,) = specs(with_figure(planned, **stages))
    assert {(run.first_step, run.last_step) for run in spec.runs} == {(first, last)}


def test_a_stage_that_a_run_does_not_have_is_an_error(planned: WrittenPlan) -> None:
    with pytest.raises(
        DashboardError,
        match=r"figure f: there is no stage 2 in row 'Supervised'.* 0 \(warm-up\) to 1",
    ):
        specs(with_figure(planned, from_stage=2))


def test_a_profile_has_files_and_runs_of_its_own(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path, STUDY + FIGURES), (), "small")
    _, pair = specs(written(study, tmp_path))
    assert pair.name == "pair-small"
    assert [(r.seed, r.first_step, r.last_step) for r in pair.runs] == [(7, 2, 4)]


def test_a_profile_changes_single_keys_of_a_figure(tmp_path: Path) -> None:
    patched = STUDY.replace(
        "    seeds: [7]",
        "    seeds: [7]\n    title: Small\n    figures: {pair: {caption: C, scale: 1}}",
    )
    figures = load_study(write_study(tmp_path, patched + FIGURES), (), "small").figures
    assert [(f.name, f.title, f.caption, f.scale) for f in figures] == [
        ("all", "", "", 1),
        ("pair", "", "C", 1),
    ]
    assert load_study(write_study(tmp_path, patched + FIGURES)).figures[1].title == "Two"
    with pytest.raises(ConfigError, match=r"study.yaml:28: figures\.1\.scale = 0\.0"):
        load_study(
            write_study(tmp_path, patched.replace("scale: 1}", "scale: 0}") + FIGURES), (), "small"
        )
    with pytest.raises(
        ConfigError, match=r"profiles\.small\.figures\.pear: no such figure; did you mean 'pair'\?"
    ):
        load_study(write_study(tmp_path, patched.replace("{pair: ", "{pear: ") + FIGURES))


def test_runs_that_begin_the_same_know_of_each_other(tmp_path: Path) -> None:
    both = STUDY.replace("- label: Supervised\n", "- {label: IML, set: {method.name: iml}}\n")
    for change, expected in (
        ("", {4}),
        ("set: {method.name: rml, runtime.log_every_steps: 7}", set[int]()),
    ):
        text = both.replace("set: {method.name: rml}", change) if change else both
        plan = written(load_study(write_study(tmp_path, text + FIGURES)), tmp_path)
        runs = {(r.row, r.column, r.seed): r for r in specs(plan)[0].runs}
        for (row, column, seed), run in runs.items():
            other = runs["IML" if row == "RML" else "RML", column, seed]
            assert {b.last_step for b in run.shared_stages} == expected
            assert {b.run_id for b in run.shared_stages} == ({other.run_id} if expected else set())


def test_rows_multiplied_by_axes_are_named_as_the_table_names_them(tmp_path: Path) -> None:
    axes = STUDY + (
        "axes: {optimiser.lr: [0.1, 0.2]}\nfigures: [{name: f, metric: m, rows: ['RML · "
        "lr=0.1']}]\n"
    )
    study = load_study(write_study(tmp_path, axes))
    assert study.figures[0].rows == ("RML · lr=0.1",)
    with pytest.raises(ConfigError, match=r"'RML': no such row; choices: RML · lr=0\.1, "):
        load_study(write_study(tmp_path, axes.replace("['RML · lr=0.1']", "['RML']")))


def test_the_end_of_a_launch_says_how_to_draw_them(
    planned: WrittenPlan, store: Store, tmp_path: Path
) -> None:
    layout = OutputLayout(root=tmp_path / "out", storage=str(tmp_path / "out"))
    console = Console(record=True, width=200)
    for plan in (
        planned,
        replace(planned, figures=(), profile="small"),
    ):
        print_launch(
            plan, LaunchReport(done=["r"]), layout, store.uri, Path("my study.yaml"), console
        )
    drawn, other = console.export_text().split("1 finished")[1:]
    where = f"--out {tmp_path / 'out'} --tracking-uri {store.uri}"
    assert f"rml figures 'my study.yaml' {where}  # draw all, pair" in drawn
    assert "rml figures" not in other


def test_the_end_of_a_launch_without_mlflow_has_a_table_and_says_how_to_send_the_runs(
    planned: WrittenPlan, tmp_path: Path
) -> None:
    layout = OutputLayout(root=tmp_path / "out", storage=str(tmp_path / "out"))
    console = Console(record=True, width=200)
    gone = "http://127.0.0.1:9"
    report = LaunchReport(done=["r"], untracked=["r"])
    print_launch(planned, report, layout, gone, Path("study.yaml"), console)
    said = console.export_text()
    assert "not in MLflow yet, it could not be reached: r; the table is made from the run" in said
    assert "Method" in said
    sync = f"rml tracking sync study.yaml --out {tmp_path / 'out'} --tracking-uri {gone}"
    assert f"{sync}  # send them once MLflow is back" in said


def test_a_study_without_figures_has_none(tmp_path: Path) -> None:
    study: Study = load_study(write_study(tmp_path))
    assert study.figures == ()


@pytest.mark.parametrize(
    ("figure", "parts"),
    [
        ("{metric: m}", ["figures.0.name: missing"]),
        ("{name: a/b, metric: m}", ["figures.0.name = 'a/b'", "letters, digits"]),
        ("{name: f}", ["figures.0.metric = None", "either metric or metrics"]),
        ("{name: f, metric: m, metrics: {a: b}}", ["either metric or metrics"]),
        ("{name: f, metric: ''}", ["either metric or metrics"]),
        ("{name: f, metrics: {a: a, b: b, c: c, d: d, e: e}}", ["figures.0.metrics", "at most 4"]),
        ("{name: f, metrik: m}", ["figures.0.metrik", "did you mean 'metric'?"]),
        (
            "{name: f, metric: m, rows: [RLM]}",
            ["figures.0.rows.0: 'RLM': no such row; did you mean 'RML'?"],
        ),
        ("{name: f, metric: m, rows: [Other]}", ["figures.0.rows.0: 'Other': only reported"]),
        ("{name: f, metric: m, rows: []}", ["figures.0.rows", "at least one label"]),
        ("{name: f, metric: m, columns: ['1/3']}", ["figures.0.columns.0: '1/3': no such column"]),
        ("{name: f, metric: m, from_stage: -1}", ["figures.0.from_stage = -1"]),
        (
            "{name: f, metric: m, from_stage: 2, to_stage: 1}",
            ["figures.0.to_stage = 1: expected from_stage (2)"],
        ),
        ("{name: f, metric: m, scale: 0}", ["figures.0.scale = 0.0", "a positive number"]),
        ("{name: f, metric: m, smoothing: 4}", ["figures.0.smoothing = 4", "an odd number"]),
        (
            "{name: f, metric: m, x_range: [3, 1]}",
            ["figures.0.x_range = (3.0, 1.0)", "the smaller one first"],
        ),
        (
            "{name: f, metric: m, log_y: true, y_range: [0, 1]}",
            ["figures.0.y_range", "because of log_y"],
        ),
        (
            "{name: f, metric: m}\n  - {name: f, metric: m}",
            ["figures.1.name: 'f': name given twice"],
        ),
        (
            "{name: tiny, metric: m}",
            ["figures.0.name: 'tiny': files of the study's name are its table's"],
        ),
    ],
)
def test_an_error_names_line_key_and_what_is_expected(
    tmp_path: Path, figure: str, parts: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_study(write_study(tmp_path, f"{STUDY}figures:\n  - {figure}\n"))
    for part in ("study.yaml:", *parts):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("figure", "part"),
    [
        ("{name: f, kind: scores, metric: train/loss}", "metric = 'train/loss': expected nothing"),
        ("{name: f, kind: ranks, smoothing: 3}", "smoothing = 3: expected nothing"),
        ("{name: f, kind: scores, against: RML}", "against = 'RML': expected nothing"),
        ("{name: f, kind: gain, against: Rml}", "'Rml': no such row that is run; choices: RML"),
        ("{name: f, kind: score}", "did you mean 'scores'"),
        ("{name: f}", "either metric or metrics"),
    ],
)
def test_kinds_of_figures_are_checked(figure: str, part: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=part):
        load_study(write_study(tmp_path, f"{STUDY}figures: [{figure}]\n"))


def test_diagrams_are_no_curves(tmp_path: Path) -> None:
    text = f"{STUDY}figures: [{{name: g, kind: gain, against: Supervised, rows: [RML]}}]\n"
    plan = written(load_study(write_study(tmp_path, text)), tmp_path)
    assert (plan.figures[0].kind, plan.figures[0].against) == ("gain", "Supervised")
    assert figure_specs(plan) == ()
