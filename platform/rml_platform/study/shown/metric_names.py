"""Scores that a study asks for in its table and figures, checked before anything is trained."""

from collections.abc import Iterator

from rml_dashboards.contract.metric_keys import FINAL, HOLDOUT, SECONDS, VAL, metric_of_key
from rml_platform.plugins import IF_IT_IS_OUTSIDE
from rml_platform.study.study_file import ColumnConfig, StudyConfig
from rml_platform.study.yaml_document import KeyPath
from rml_trainers.configuration import suggest
from rml_trainers.scoring.metrics import METRICS


def metric_problems(config: StudyConfig) -> Iterator[tuple[KeyPath, str]]:
    """Metrics that no run would record, each with the key path it stands at."""
    asked: list[tuple[KeyPath, str]] = [(("table", "metric"), config.table.metric)]
    asked += [
        (("columns", i, "metric"), column.metric)
        for i, column in enumerate(config.columns)
        if column.metric is not None
    ]
    for i, figure in enumerate(config.figures):
        if figure.metric is not None:
            asked.append((("figures", i, "metric"), figure.metric))
        asked += [(("figures", i, "metrics", label), key) for label, key in figure.metrics.items()]
    for path, key in asked:
        if not _is_recorded(key):
            name = metric_of_key(key)
            known = suggest(name.partition("/")[0], METRICS)
            yield path, f"{key!r}: no run records the metric {name!r}; {known}; {IF_IT_IS_OUTSIDE}"
    yield from _aggregates_of_nothing(config)


def _aggregates_of_nothing(config: StudyConfig) -> Iterator[tuple[KeyPath, str]]:
    """Final scores are one number, of which nothing can be averaged or chosen."""
    default = ColumnConfig(label="the only one")
    for i, column in enumerate(config.columns or (default,)):
        aggregate = column.aggregate or config.table.aggregate
        key = column.metric or config.table.metric
        if aggregate != "last" and key.startswith(f"{FINAL}/"):
            where: KeyPath = ("columns", i, "aggregate")
            if column.aggregate is None:
                where = ("table", "aggregate")
            yield (
                where,
                f"{aggregate!r}: {key!r} is one number at the end of a "
                f"run; choose a metric with a curve, such as {key.replace(FINAL, VAL, 1)}",
            )


def _is_recorded(key: str) -> bool:
    """What steps report (`train/…`) depends on the method, and is not known here."""
    is_score = key.partition("/")[0] in (FINAL, VAL, HOLDOUT)
    name = metric_of_key(key).partition("/")[0]
    return not is_score or name in METRICS or key == f"{FINAL}/{SECONDS}"
