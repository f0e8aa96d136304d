"""Tables as files: Markdown that also reads well raw in a terminal, and tidy CSV. The same table,
the same bytes."""

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from rml_dashboards.contract.metric_names import axis_label
from rml_dashboards.contract.run_folder import RUNS
from rml_dashboards.contract.tags import Tag
from rml_dashboards.tables.entries import Entry, Table, Trace
from rml_dashboards.tables.specification import ColumnSpec, TableSpec
from rml_dashboards.tables.texts import STALE, Text, grid
from rml_dashboards.writing.numbers import number_text
from rml_dashboards.writing.pipe_table import NOTHING, escape, one_line, pipe_table, without_column

CSV_DECIMALS = 6
STALE_MEANING = (
    f"{STALE.strip()}: stale, made by another version of the results or under settings that the "
    "study no longer has."
)
TRACES = "## How to trace a number"
MLFLOW_RUN = "MLflow run id"
MARKUP = {"best": ("**", "**"), "second": ("<u>", "</u>"), "group": ("*", "*")}
AGGREGATES = {
    "best_holdout": "value at the evaluation that is best on held-out labelled images",
    "mean_of_last": "mean of the last {k} values of each run",
}
MEANINGS = {
    "running": "recorded as at work",
    "failed": "ended in an error",
    "stopped": "cut off by a person and resumable",
    "unscored": "finished, but the score is absent or not a number",
    "missing": "never recorded",
}


def markdown(table: Table) -> str:
    """Title, caption, table, footnotes, what the marks mean, and the runs behind every number."""
    spec = table.spec
    parts = [f"# {one_line(spec.title)}"]
    if spec.caption:
        parts.append(spec.caption.strip())
    layout = grid(table)
    lines = [[_markdown_cell(cell) for cell in line] for line in layout.lines]
    parts.append(pipe_table([escape(cell) for cell in layout.header], lines))
    parts.append(legend(table))
    if table.notes:
        parts.append(
            "\n".join(
                f"- [{number}] {one_line(note)}" for number, note in enumerate(table.notes, start=1)
            )
        )
    if table.warnings:
        parts.append(
            "\n".join(
                ["**Warnings**", "", *(f"- {one_line(warning)}" for warning in table.warnings)]
            )
        )
    parts.append(_traces(table))
    return "\n\n".join(parts) + "\n"


def legend(table: Table, *, in_words: bool = False) -> str:
    """One paragraph: what a number is, who reported the others, when and with what ours were
    made.

    Args:
        in_words: metrics have the names that figures give them, before the keys of the records.
    """
    spec = table.spec
    sentences = [
        f"{_measured(spec, in_words)}: mean ± sample standard deviation (number of seeds); one "
        "seed has no ±."
    ]
    if any(entry.best or entry.second for entry in table.cells()):
        sentences.append(_bold(spec))
    lower = [column.label for column in spec.columns if not spec.is_higher_better(column)]
    if lower:
        where = "" if len(lower) == len(spec.columns) else f" in {', '.join(lower)}"
        sentences.append(f"Lower is better{where}.")
    sentences += [
        f"{column.label}: {AGGREGATES[column.aggregate].format(k=column.last_k)}."
        for column in spec.columns
        if column.aggregate in AGGREGATES
    ]
    if any(entry.is_stale for entry in table.cells()):
        sentences.append(STALE_MEANING)
    if spec.repeats:
        sentences.append(floor_sentence(table))
    present = {entry.status for entry in table.cells()}
    sentences += [
        f"{status.capitalize()}: {meaning}."
        for status, meaning in MEANINGS.items()
        if status in present
    ]
    sources = sorted({value.source for entry in table.cells() for value in entry.reported} - {""})
    if len(sources) == 1:
        sentences.append(f"Reported: {sources[0]}.")
    sentences += _made_with(table)
    return " ".join(one_line(sentence) for sentence in sentences)


def _measured(spec: TableSpec, in_words: bool) -> str:
    metrics = tuple(dict.fromkeys(spec.metric_of(column) for column in spec.columns))
    keys = ", ".join(f"`{metric}`" for metric in metrics)
    if not in_words:
        return keys + (f" × {spec.scale:g}" if spec.scale != 1 else "")
    names = dict.fromkeys(axis_label([metric], spec.scale) for metric in metrics)
    return f"{', '.join(names)}, recorded as {keys}"


def _made_with(table: Table) -> list[str]:
    """How many runs our scores are of, when they ended, and what made them."""
    done = [
        trace
        for entry in table.cells()
        for trace in entry.traces
        if trace.state == "done" and not trace.imported
    ]
    if not done:
        return []
    num_runs = len({trace.run_id for trace in done})
    facts = [f"Our scores: {num_runs} {'run' if num_runs == 1 else 'runs'}"]
    days = sorted({trace.ended for trace in done if trace.ended})
    if days:
        facts.append(f"ended {days[0]}" if len(days) == 1 else f"ended {days[0]} to {days[-1]}")
    codes = sorted({trace.code_version for trace in done} - {""})
    if len(codes) > 1:
        facts.append(f"several versions of the code ({', '.join(codes)})")
    elif codes:
        facts.append(f"code {codes[0]}")
    devices = sorted({trace.device for trace in done} - {""})
    facts += [f"device {', '.join(devices)}"] if devices else []
    facts += _roundings(done)
    return [f"{'; '.join(facts)}."]


def _roundings(done: Sequence[Trace]) -> list[str]:
    """With how many threads runs on the CPU were trained, where that differs."""
    of_run = {one.run_id: one.threads for one in done if one.device == "cpu" and one.threads}
    counted = sorted(Counter(of_run.values()).items(), key=lambda known: int(known[0]))
    if len(counted) < 2:
        return []
    shown = ", ".join(f"{threads} ({num} of the runs)" for threads, num in counted)
    return [f"threads of a worker {shown}, which round differently"]


def floor_sentence(table: Table) -> str:
    """What rounding alone does to a run, as far as the study has measured it."""
    if table.floor is None:
        ids = ", ".join(one.repeat_id for one in table.spec.repeats)
        return f"Noise floor: not measured, for {ids} has no score yet or its original has none."
    return f"Noise floor: {table.floor.shown(table.spec.digits)} ({table.floor.source})."


def _bold(spec: TableSpec) -> str:
    second = {
        "best": "",
        "best_two": "; underlined: second best",
        "supported": "; underlined: second best; each only where the 95 % interval of its "
        "difference from the next leaves out zero",
    }
    return f"Bold: best of its column, all seeds there{second[spec.emphasis]}."


def _traces(table: Table) -> str:
    """One line per run: the way from a printed number back to what was recorded."""
    header = [
        table.spec.row_heading,
        "Column",
        "Seed",
        "State",
        "Score",
        "Run id",
        MLFLOW_RUN,
        "Protocol",
        "Code",
    ]
    lines = []
    for entry in table.cells():
        for trace in (*entry.traces, *entry.earlier):
            score = (
                NOTHING if trace.value is None else number_text(trace.value, table.spec.digits + 2)
            )
            code = code_text(trace)
            fields = [entry.row, entry.column, str(trace.seed), state_text(entry, trace), score]
            fields += [trace.run_id]
            fields += [trace.mlflow_run_id or NOTHING, trace.protocol or NOTHING, code or NOTHING]
            lines.append([escape(cell) for cell in fields])
    how = "Every number is the mean of the runs listed with its row and column."
    if any(trace.mlflow_run_id for entry in table.cells() for trace in entry.traces):
        search = f"tags.`{Tag.RUN_ID}` = '<run id>'"
        how += f" In MLflow, search for `` {search} ``, or open the MLflow run id."
    else:
        how += f" Each run has a folder of its own, `{RUNS}/<run id>`."
        header, lines = without_column(header, lines, MLFLOW_RUN)
    parts = [TRACES, how]
    return "\n\n".join(
        [*parts, pipe_table([escape(cell) for cell in header], lines)] if lines else parts
    )


def code_text(trace: Trace) -> str:
    """What made a run's score."""
    if trace.imported:
        return f"imported from {trace.imported}"
    return trace.code_version + (" + changes" if trace.dirty else "")


def state_text(entry: Entry, trace: Trace) -> str:
    """How a run of an entry stands, and what keeps its score from being one of today's."""
    if trace in entry.earlier:
        return "of an earlier plan"
    return f"{trace.state}, stale" if trace.stale and trace.state == "done" else trace.state


def csv(table: Table) -> str:
    """One tidy line per cell, in the units of the table; empty where undefined; one word per seed
    in lists of runs."""
    return cell_frame(table).round(CSV_DECIMALS).to_csv(index=False, lineterminator="\n")


def cell_frame(table: Table) -> pd.DataFrame:
    """The lines of the CSV, with full decimals."""
    return pd.DataFrame(
        [
            _csv_line(table, column, entry)
            for line in table.entries
            for column, entry in zip(table.spec.columns, line, strict=True)
        ]
    )


def _csv_line(table: Table, column: ColumnSpec, entry: Entry) -> dict[str, object]:
    reported = entry.reported[0] if entry.reported else None
    done = [trace for trace in entry.traces if trace.state == "done"]
    imported = {trace.imported for trace in done} - {""}
    line: dict[str, object] = {
        "row": entry.row,
        "column": entry.column,
        "mean": entry.mean,
        "std": entry.std,
        "n": entry.n,
        "n_expected": entry.n_expected,
        "status": entry.status,
        "minimum": entry.minimum,
        "maximum": entry.maximum,
        "ci95_low": entry.ci_low,
        "ci95_high": entry.ci_high,
        "reported_mean": reported and reported.mean,
        "reported_std": reported and reported.std,
        "reported_source": reported and reported.source,
        "reported_also": "; ".join(
            f"{value.mean} ({value.source})" for value in entry.reported[1:]
        ),
        "difference": entry.difference,
        "protocol": " ".join(entry.protocols),
        "metric": entry.metric,
        "higher_is_better": table.spec.is_higher_better(column),
        "best": entry.best,
        "scale": table.spec.scale,
        "seeds": " ".join(str(trace.seed) for trace in entry.traces),
        "run_ids": " ".join(trace.run_id for trace in entry.traces),
        "mlflow_run_ids": " ".join(trace.mlflow_run_id or "-" for trace in entry.traces),
        "states": " ".join(trace.state for trace in entry.traces),
        "dirty": any(trace.dirty for trace in done),
        "code_versions": " ".join(dict.fromkeys(trace.code_version or "-" for trace in done)),
        "result_versions": " ".join(dict.fromkeys(str(t.result_version) for t in done)),
        "stale": entry.is_stale,
        "earlier_run_ids": " ".join(trace.run_id for trace in entry.earlier),
        "notes": " ".join(
            table.notes[number - 1] for number in (*entry.marks, *sum(entry.reported_marks, ()))
        ),
    }
    if table.spec.repeats:
        line["noise_floor"] = table.floor and table.floor.of(entry.column)
        line["close_to"] = "; ".join(entry.close_to)
    return line | ({"imported": " ".join(sorted(imported))} if table.spec.imported else {})


def _markdown_cell(cell: Text) -> str:
    text = escape(cell.text)
    before, after = MARKUP.get(cell.kind, ("", ""))
    return f"{before}{text}{after}"
