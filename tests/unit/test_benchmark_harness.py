"""The harness: who is called when, what is divided by what, and what is written. With a clock of the test's own."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.benchmarks.harness import compare, parser, publish, quartiles, readable


class FakeTime:
    """Seconds that pass only while a contender works."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[tuple[str, int]] = []

    def contender(self, name: str, seconds: Callable[[int], float]) -> Callable[[int], None]:
        def call(index: int) -> None:
            self.calls.append((name, index))
            self.now += seconds(index)

        return call

    def clock(self) -> float:
        return self.now


def test_contenders_alternate_and_warm_up_does_not_count() -> None:
    time = FakeTime()
    contenders = {
        "a": time.contender("a", lambda index: 100.0 if index == 0 else 1.0),
        "b": time.contender("b", lambda index: 3.0),
    }
    comparison = compare("t", contenders, num_rounds=2, num_warm_up=1, clock=time.clock)
    assert time.calls == [("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2), ("b", 2)]
    assert [(t.name, t.median_s, t.ratio) for t in comparison.timings] == [("a", 1.0, 1.0), ("b", 3.0, 3.0)]


def test_ratio_is_paired_by_round() -> None:
    """A machine that slows down tenfold half-way changes the medians, not the ratio."""
    time = FakeTime()
    load = [1.0, 1.0, 10.0, 10.0, 10.0]
    contenders = {
        "a": time.contender("a", lambda index: load[index]),
        "b": time.contender("b", lambda index: 2 * load[index]),
    }
    a, b = compare("t", contenders, num_rounds=5, num_warm_up=0, clock=time.clock).timings
    assert (b.ratio, b.ratio_range) == (2.0, (2.0, 2.0))
    assert (a.lower_s, a.median_s, a.upper_s) == (1.0, 10.0, 10.0)


@pytest.mark.parametrize(
    ("values", "expected"), [([5.0], (5.0, 5.0, 5.0)), ([1.0, 2.0, 3.0, 4.0, 5.0], (2.0, 3.0, 4.0))]
)
def test_quartiles(values: list[float], expected: tuple[float, float, float]) -> None:
    assert quartiles(values) == expected


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.5, "2.5 s"), (0.01234, "12.3 ms"), (4.2e-5, "42 µs"), (1e-8, "0.01 µs")]
)
def test_readable_seconds(seconds: float, text: str) -> None:
    assert readable(seconds) == text


def test_tables_and_figures_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    time = FakeTime()
    contenders = {name: time.contender(name, lambda index: 0.5) for name in ("a", "b")}
    comparison = compare("t", contenders, num_rounds=1, clock=time.clock, note="Why.")
    files = ["--json", str(tmp_path / "f.json"), "--markdown", str(tmp_path / "f.md")]
    publish("Title", [comparison], parser("p", num_rounds=1).parse_args(files))
    document = json.loads((tmp_path / "f.json").read_text())
    assert document["comparisons"][0]["timings"][1] == {
        "name": "b",
        "median_s": 0.5,
        "lower_s": 0.5,
        "upper_s": 0.5,
        "ratio": 1.0,
        "ratio_range": [1.0, 1.0],
    }
    assert set(document["machine"]) >= {"cpu", "cores", "threads", "device", "torch", "date", "commit"}
    text = (tmp_path / "f.md").read_text()
    assert text == capsys.readouterr().out
    assert f"## Title, {document['machine']['date']}" in text
    assert "| b | 500 ms | 500 ms – 500 ms | 1 (1 – 1) |\n\nWhy.\n" in text


def test_the_example_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    readme = Path(__file__).parents[1] / "benchmarks" / "README.md"
    (example,) = re.findall(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), flags=re.DOTALL)
    exec(compile(example, str(readme), "exec"), {})
    assert "**ascending numbers** (5 rounds)" in capsys.readouterr().out
