"""Every kind of diagram by its name in a study file."""

from collections.abc import Callable

from rml_dashboards.contract.planned import FigureKind
from rml_dashboards.diagrams.classes import classes
from rml_dashboards.diagrams.diagram import Diagram, Material
from rml_dashboards.diagrams.profiles import profile
from rml_dashboards.diagrams.ranks import ranks
from rml_dashboards.diagrams.scores import scores
from rml_dashboards.diagrams.trends import cost, gain

DIAGRAMS: dict[FigureKind, Callable[[Material], Diagram]] = {
    "scores": scores,
    "classes": classes,
    "ranks": ranks,
    "profile": profile,
    "gain": gain,
    "cost": cost,
}
