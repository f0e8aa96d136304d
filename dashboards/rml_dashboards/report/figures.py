"""A study's figures within the page."""

from rml_dashboards.figures.thinning import thinned
from rml_dashboards.figures.web.page import figure_parts, hint_parts
from rml_dashboards.report.content import StudyContent
from rml_dashboards.studies.drawn import drawn_figures
from rml_dashboards.writing.page import element

MOST_ROWS = 24
MOST_PANELS = 12
"""A figure with more of them tells nothing and takes megabytes."""


def figures_parts(content: StudyContent, prefix: str) -> list[str]:
    """Every figure as a picture that stands in the page itself."""
    heading = element("h3", "Figures", id=f"{prefix}figures")
    rows = [row.label for row in content.plan.rows if row.columns]
    if len(rows) > MOST_ROWS or len(content.plan.columns) > MOST_PANELS:
        return [
            heading,
            element(
                "p",
                f"{len(rows)} rows in {len(content.plan.columns)} columns are more than a figure "
                f"can tell apart; name some under `figures` and draw them with rml figures "
                f"{content.plan.name}.",
            ),
        ]
    drawn = drawn_figures(
        content.plan, content.reader, thin=thinned, is_lenient=True, with_pseudo_labels=True
    )
    is_alive = not content.is_light
    parts = [part for figure in drawn for part in figure_parts(figure, is_alive=is_alive)]
    if not parts:
        return [heading, element("p", "Nothing is recorded yet that could be drawn.")]
    return [heading, *(hint_parts() if is_alive else []), '<div class="figures">', *parts, "</div>"]
