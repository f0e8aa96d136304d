"""Diagrams as figures of any kind: with their values, and what is said of them."""

from rml_dashboards.diagrams.diagram import Diagram
from rml_dashboards.figures.publish import Drawn
from rml_dashboards.writing.pipe_table import one_line


def drawn_diagram(name: str, title: str, caption: str, diagram: Diagram) -> Drawn:
    """A diagram with its chapter of the index."""
    parts = [f"## {name}: {one_line(title)}"]
    if caption:
        parts.append(caption.strip())
    files = f"[SVG]({name}.svg), [PDF]({name}.pdf), [values]({name}.csv)"
    parts += [f"![{one_line(title)}]({name}.png)", f"{one_line(diagram.says)} {files}"]
    if diagram.notes:
        parts.append("\n".join(f"- {one_line(note)}" for note in diagram.notes))
    return Drawn(
        name=name,
        title=title,
        chart=diagram.chart,
        values=lambda: diagram.values.to_csv(index=False, lineterminator="\n"),
        says=(diagram.says, *diagram.notes),
        chapter=lambda: parts,
    )


def not_drawn(name: str, title: str, reason: str) -> Drawn:
    """A figure that has nothing to draw, and why."""
    return Drawn(
        name=name,
        title=title,
        chart=None,
        values=lambda: "",
        says=(f"Not drawn: {one_line(reason)}.",),
        chapter=lambda: (f"## {name}: {one_line(title)}", f"Not drawn: {one_line(reason)}."),
    )
