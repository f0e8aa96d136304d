"""`rml report`: one page that stands alone, says what is recorded, and takes any name."""

import base64
import gzip
import hashlib
import html
import io
import json
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
import yaml
from PIL import Image

import rml_dashboards as rd
from rml_dashboards.errors import DashboardError
from rml_dashboards.report.content import Price, StudyContent, read_content
from rml_dashboards.report.publish import CHAPTERS, report, write_report
from rml_dashboards.tables.html import run_links
from rml_platform.cli import app
from tests.support.dashboards.html_pages import MARKUP, Read
from tests.support.dashboards.recorded_study import SCORES, RecordedStudy, measure
from tests.support.platform.command import rml
from tests.support.platform.hostile_names import HOSTILE_NAMES
from tests.support.platform.plan_on_disk import OWN_IMAGES

NOW = datetime(2026, 11, 28, tzinfo=UTC)
THREE_OF_FOUR = {cell: score for cell, score in SCORES.items() if cell != ("RML", 1)}


def content_of(there: RecordedStudy, **more: object) -> StudyContent:
    study = rd.study("own", out=there.out, tracking_uri="none")
    given: dict[str, object] = {"against": None, "price": None, "link": run_links("none"), **more}
    return read_content(study.plan, study._reader, storage=str(there.out), **given)  # type: ignore[arg-type]


def read(contents: Sequence[StudyContent]) -> tuple[str, Read]:
    text = report(contents, NOW)
    return text, Read(text)


def fail(there: RecordedStudy, run_id: str, message: str) -> None:
    """The folder of a run that has ended in an error."""
    other = next(iter((there.out / "runs").iterdir()))
    folder = there.out / "runs" / run_id
    folder.mkdir()
    task = json.loads((other / "task.json").read_text())
    (folder / "task.json").write_text(json.dumps({**task, "run_id": run_id}))
    failure = {"kind": "NonFiniteLossError", "message": message, "time": time.time()}
    (folder / "failure.json").write_text(json.dumps(failure))


def draw_predictions(there: RecordedStudy, run_id: str, *names: str, blue: int = 255) -> None:
    """Pictures as runs leave them: a red, a green and a blue panel side by side."""
    folder = there.out / "runs" / run_id / "predictions"
    colours = np.diag([255, 255, blue])
    panels = [np.full((20, 30, 3), colour, dtype=np.uint8) for colour in colours]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.concatenate(panels, axis=1)).save(folder / f"{name}.png")


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> RecordedStudy:
    """Three runs are done, one has failed; two have left pictures."""
    more = {"iou__a": 0.4, "iou__b": 0.6}
    made = RecordedStudy.make(tmp_path_factory.mktemp("study"), scores=THREE_OF_FOUR, more=more)
    fail(made, made.run_id("RML", 1), "loss is nan <b>here</b>")
    for row, blue in (("Supervised", 255), ("RML", 230)):
        draw_predictions(made, made.run_id(row, 0), "city/street", "park", blue=blue)
    return made


@pytest.fixture(scope="module")
def page(there: RecordedStudy) -> tuple[str, Read]:
    return read([content_of(there, price=Price.parse("2 EUR"))])


def test_every_chapter_is_there_and_linked(page: tuple[str, Read]) -> None:
    _, found = page
    assert not found.open, "everything that was opened is closed"
    ids = [own["id"] for _, own, _ in found.elements if own.get("id")]
    assert len(ids) == len(set(ids))
    targets = [str(own["href"])[1:] for tag, own, _ in found.elements if tag == "a"]
    assert set(targets) <= set(ids)
    assert {f"s1-{name}" for name in CHAPTERS} <= set(targets)


def test_the_page_stands_alone(page: tuple[str, Read]) -> None:
    text, found = page
    sources = [own["src"] for _, own, _ in found.elements if own.get("src")]
    assert sources and all(str(source).startswith("data:image/") for source in sources)
    assert not [tag for tag, *_ in found.elements if tag in ("link", "iframe", "object", "base")]
    without_data = re.sub(r"data:image/[^\"]*", "", text)
    assert not re.search(r"https?://", without_data)


def test_only_its_own_script_may_run(page: tuple[str, Read]) -> None:
    text, found = page
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    (packed,) = re.findall(r'<script type="text/plain" id="plotly">(.*?)</script>', text)
    library = gzip.decompress(base64.b64decode(packed))
    allowed = {
        f"'sha256-{base64.b64encode(hashlib.sha256(one).digest()).decode()}'"
        for one in (script.encode(), library)
    }
    (policy,) = (
        own["content"]
        for tag, own, _ in found.elements
        if tag == "meta" and own.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    assert set(policy.partition("script-src ")[2].split()) == allowed
    handlers = [key for _, own, _ in found.elements for key in own if key.startswith("on")]
    assert not handlers and not [tag for tag, own, _ in found.elements if "style" in own]


def test_cells_are_told_by_state(page: tuple[str, Read]) -> None:
    _, found = page
    assert "4 runs: 3 done, 1 failed." in found.texts("p")
    cells = {
        text: own["title"]
        for (tag, own, _), text in zip(
            found.elements, ["".join(t).strip() for *_, t in found.elements], strict=True
        )
        if tag == "td" and str(own.get("class", "")).startswith("cell")
    }
    assert cells["✓ 2/2"] == "complete: 2 done"
    assert cells["◐ 1/2"] == "partial: 1 done, 1 failed"


def test_the_switch_needs_no_script(page: tuple[str, Read]) -> None:
    text, found = page
    boxes = [own for tag, own, _ in found.elements if own.get("type") == "radio"]
    assert [str(box["id"]) for box in boxes] == ["s1-view-mean", "s1-view-raw", "s1-view-paired"]
    assert "checked" in boxes[0]
    labels = {own["for"] for tag, own, _ in found.elements if tag == "label"}
    assert labels == {box["id"] for box in boxes}
    for view in ("mean", "raw", "paired"):
        assert f".show-{view}:checked ~ .view-{view}" in text
    assert "50.0 60.0" in found.texts("td"), "single scores"
    assert "52.0 failed" in found.texts("td")
    assert "+2.0 (+2.0)" in found.texts("td"), "paired differences from the supervised row"


def test_failures_have_their_reason(page: tuple[str, Read], there: RecordedStudy) -> None:
    text, found = page
    assert there.run_id("RML", 1) in found.texts("th", scope="row")
    assert "NonFiniteLossError: loss is nan <b>here</b>" in found.texts("td")
    assert "<b>" not in text


def test_pictures_are_taken_apart(page: tuple[str, Read]) -> None:
    """What two rows show alike, image and truth, stands in the page once."""
    _, found = page
    sources = {
        str(own.get("id")): str(own["href"]) for tag, own, _ in found.elements if tag == "image"
    }
    assert len(sources) == 4, "image and truth of two images"
    shown = [str(own["href"])[1:] for tag, own, _ in found.elements if tag == "use"]
    assert sorted(shown) == sorted([*sources, *sources]), "as two rows see them"
    for panel, colour in (("image", 0), ("truth", 1), ("prediction", 2)):
        layers = [own for _, own, _ in found.elements if own.get("class") == panel]
        assert len(layers) == 4, "two images as two rows see them"
        said = layers[0].get("alt") or layers[0].get("aria-label")
        assert said == f"{panel} of city/street, Supervised"
        source = str(layers[0].get("src") or sources[shown[colour]])
        content = base64.b64decode(source.partition(",")[2])
        mean = np.asarray(Image.open(io.BytesIO(content))).mean(axis=(0, 1))
        assert mean.argmax() == colour and mean.max() > 200
    sliders = [own for _, own, _ in found.elements if own.get("type") == "range"]
    assert len(sliders) == 4
    assert all(own["aria-label"] and "hidden" in own for own in sliders)


def test_what_the_numbers_rest_on(page: tuple[str, Read], there: RecordedStudy) -> None:
    text, found = page
    told = " ".join(found.texts("td") + found.texts("th"))
    assert there.plan.runs[0].split_hash in told
    assert "schedule.warm_up_steps" in told, "settings that differ from the defaults"
    assert "method.name" in told, "settings in which rows differ"
    assert "What differs from the base" in text
    cells = found.texts("td")
    place = cells.index("method.name")
    assert cells[place : place + 3] == ["method.name", "supervised", "rml"]
    assert lines_under(found, "Time that the runs took")["all"] == ["3", "0.01", "0.01", "0.01 EUR"]
    assert any("Price: 2 EUR per core-hour." in text for text in found.texts("p"))
    assert any("The time of 1 recorded run without a result" in text for text in found.texts("p"))


def lines_under(found: Read, caption: str) -> dict[str, list[str]]:
    """A table of the page: heading of each line → its cells."""
    lines: dict[str, list[str]] = {}
    now = ""
    inside = False
    for tag, own, text in found.elements:
        said = "".join(text).strip()
        inside = said == caption if tag == "caption" else inside
        if inside and tag == "th" and own.get("scope") == "row":
            now = said
            lines[now] = []
        elif inside and tag == "td":
            lines[now].append(said)
    return lines


def test_hours_are_counted_by_row_and_in_all_and_paid(tmp_path: Path) -> None:
    """Four runs of nine seconds: two of a row held two GPUs each, one of the others two cores."""
    made = RecordedStudy.make(tmp_path)
    held = {"num_workers": 2, "gpus_per_worker": 0.0, "cpus_per_worker": 1.0}
    for seed in (0, 1):
        ask(made, made.run_id("RML", seed), **{**held, "gpus_per_worker": 1.0})
    ask(made, made.run_id("Supervised", 0), **held)
    content = content_of(made, price=Price.parse("$1000/h"))
    assert content.hours["device_hours"].tolist() == pytest.approx([27 / 3600, 36 / 3600])
    _, found = read([content])
    lines = lines_under(found, "Time that the runs took")
    assert lines == {
        "Supervised": ["2", "0.01", "–", "0.01", "0.00 $"],
        "RML": ["2", "0.01", "0.01", "–", "10.00 $"],
        "all": ["4", "0.01", "0.01", "0.01", "10.00 $"],
    }
    assert any("Price: 1000 $ per GPU-hour." in text for text in found.texts("p"))


def ask(there: RecordedStudy, run_id: str, **asked: object) -> None:
    """Change what was asked for of a run."""
    file = there.out / "runs" / run_id / "task.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **asked}))


@pytest.mark.parametrize(
    ("text", "amount", "currency"),
    [("1.20", 1.2, ""), ("1.20 EUR", 1.2, "EUR"), ("2 EUR/h", 2, "EUR"), ("€2.5/h", 2.5, "€")],
)
def test_a_price_is_written_as_people_write_it(text: str, amount: float, currency: str) -> None:
    price = Price.parse(text)
    assert (price.per_hour, price.currency) == (amount, currency)


@pytest.mark.parametrize("text", ["", "EUR", "-1 EUR", "$1 EUR", "inf", "1.2.3"])
def test_what_is_no_price_is_refused(text: str) -> None:
    with pytest.raises(DashboardError, match="expected a number and a currency"):
        Price.parse(text)


LABELS = "train/pseudo_label_1_miou"
BEFORE = "train/pseudo_label_1_unrectified_miou"


def test_how_right_the_pseudo_labels_were_is_always_told(tmp_path: Path) -> None:
    """The study declares a figure of the loss alone."""
    made = RecordedStudy.make(tmp_path)
    for seed, last in ((0, 0.5), (1, 0.6)):
        values = {LABELS: {4: 0.1, 8: last}, BEFORE: {8: last - 0.1}, "train/loss": {4: 1.0}}
        measure(made.out, made.run_id("RML", seed), values)
    _, found = read([content_of(made)])
    caption = "mIoU (%) of the pseudo labels on unlabelled images"
    assert lines_under(found, caption) == {"RML": ["2", "45.0 ± 7.1", "55.0 ± 7.1"]}
    assert [text for text in found.texts("figcaption") if "Pseudo labels" in text]


def test_pseudo_labels_that_nobody_measured_are_told_as_such(there: RecordedStudy) -> None:
    _, found = read([content_of(there)])
    assert any("monitor_pseudo_labels: true asks for it" in text for text in found.texts("p"))
    assert not any("Pseudo labels" in text for text in found.texts("figcaption"))


def test_a_light_report_has_pictures_only_and_the_same_bytes_each_time(
    there: RecordedStudy, page: tuple[str, Read], tmp_path: Path
) -> None:
    place = ("--out", there.out, "--tracking-uri", "none", "--light", "--price", "2 EUR")
    paths = [tmp_path / name for name in ("one.html", "two.html")]
    for path in paths:
        rml("report", "own", *place, "--to", path)
    text, other = (path.read_text() for path in paths)
    assert text == other
    assert 'id="plotly"' not in text and "application/json" not in text
    assert len(re.findall("'sha256-", html.unescape(text))) == 1, "no script but its own"
    assert len(text) < 300_000
    found = Read(text)
    whole = page[1]
    for tag in ("h3", "td", "figcaption"):
        left_out = 2 if tag == "figcaption" else 0  # the cards of the second image
        assert len(found.texts(tag)) == len(whole.texts(tag)) - left_out
    (said,) = (one for one in found.texts("p") if one.startswith("As recorded"))
    assert said.startswith("As recorded up to 2026-") and "light report" in said
    figures = [own for tag, own, _ in found.elements if tag == "img" and "svg" in str(own["src"])]
    assert len(figures) == len(
        [own for tag, own, _ in whole.elements if tag == "img" and "svg" in str(own["src"])]
    )


def test_runs_on_a_server_are_linked(there: RecordedStudy) -> None:
    content = content_of(there, link=lambda run: "https://mlflow/#/runs/1")
    links = [own["href"] for tag, own, _ in read([content])[1].elements if own.get("rel")]
    assert links == ["https://mlflow/#/runs/1"] * 4


def test_several_studies_share_a_page(there: RecordedStudy) -> None:
    _, found = read([content_of(there), content_of(there)])
    ids = [own["id"] for _, own, _ in found.elements if own.get("id")]
    assert len(ids) == len(set(ids))
    assert {"s1-tables", "s2-tables"} <= set(ids)


def hostile_study(name: str) -> dict[str, object]:
    study: dict[str, Any] = yaml.safe_load(OWN_IMAGES)
    study |= {"title": name, "description": name, "figures": []}
    study["rows"][0] |= {"label": name, "group": name}
    study["columns"] = [{"label": name}]
    study["rows"][1]["reported"] = {name: [{"mean": 1, "source": name, "note": name}]}
    study["table"] = {"caption": name, "row_heading": name}
    return study


@pytest.mark.parametrize("name", [*MARKUP, *HOSTILE_NAMES[::6], "$x", "_private"])
def test_names_are_nothing_but_text(name: str, tmp_path: Path) -> None:
    made = RecordedStudy.make(tmp_path, study=hostile_study(name), scores={(name, 0): 0.5})
    draw_predictions(made, made.run_id(name, 0), "street")
    text, found = read([content_of(made)])
    assert not found.open
    tags = {tag for tag, *_ in found.elements}
    assert "b" not in tags and "foreignObject" not in tags
    assert len(re.findall("<script>", text)) == 1, "what may run"
    assert len(re.findall("<script", text)) == len(re.findall("</script>", text))
    for plot in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text):
        go.Figure(json.loads(plot))
    sources = [str(own["src"]) for _, own, _ in found.elements if own.get("src")]
    assert all(source.startswith("data:image/") for source in sources)
    assert name.strip() in found.texts("th", scope="row")


def test_the_command_writes_one_file(there: RecordedStudy, tmp_path: Path) -> None:
    place = ("--out", there.out, "--tracking-uri", "none")
    said = rml("report", "own", *place)
    path = there.out / "studies" / "own" / "report.html"
    assert said.split() == [str(path)]
    assert "A study" not in path.read_text() and "own" in path.read_text()
    rml("report", "own", *place, "--to", tmp_path / "r.html", "--paired", "RML", "--price", "1.5")
    assert "Differences from RML" in (tmp_path / "r.html").read_text()
    with pytest.raises(DashboardError, match="no row 'Rml'; rows: Supervised, RML"):
        rml("report", "own", *place, "--paired", "Rml")
    with pytest.raises(DashboardError, match="expected a number and a currency"):
        rml("report", "own", *place, "--price", "EUR")


def test_a_figure_of_what_no_run_recorded_says_so_and_the_others_are_drawn(tmp_path: Path) -> None:
    figures = (
        "figures:\n  - {name: loss, metric: train/loss}\n"
        "  - {name: labels, title: Labels, metric: train/pseudo_label_1_miou}\n"
    )
    text = OWN_IMAGES.replace("figures:\n  - {name: loss, metric: train/loss}\n", figures)
    made = RecordedStudy.make(tmp_path, text=text)
    _, found = read([content_of(made)])
    assert len([own for tag, own, _ in found.elements if tag == "img"]) == 1
    (said,) = (one for one in found.texts("figcaption") if one.startswith("labels"))
    assert "none of its runs has recorded 'train/pseudo_label_1_miou'" in said


def test_a_study_that_was_never_launched_has_a_report(tmp_path: Path) -> None:
    made = RecordedStudy.make(tmp_path, scores={})
    text, found = read([content_of(made)])
    assert "4 runs: 4 missing." in found.texts("p")
    assert "No recorded run has failed." in found.texts("p")
    assert not found.open and "No run has left pictures in its folder here." in text


def test_thousands_of_cells_stay_small(tmp_path: Path) -> None:
    study = yaml.safe_load(OWN_IMAGES)
    study["rows"] = [
        {"label": f"row {i}", "set": {"optimiser.lr": 0.001 + i * 1e-5}} for i in range(100)
    ]
    study["columns"] = [
        {"label": f"column {j}", "set": {"optimiser.momentum": j / 20}} for j in range(20)
    ]
    study |= {"seeds": [0], "figures": []}
    made = RecordedStudy.make(tmp_path, study=study, scores={})
    content = content_of(made)
    path = write_report([content], tmp_path / "report.html")
    assert path.stat().st_size < 10_000_000
    text = path.read_text()
    assert text.count('<td class="cell missing"') == 2000
    assert "2000 cells are not compared unless a row is named" in text
    assert "more than a figure can tell apart" in text
    assert 'id="plotly"' not in text, "nothing for figures where there are none"


def test_the_command_is_known() -> None:
    assert "report" in {command.name for command in app.registered_commands}
