"""Addresses within MLflow's own pages, for notes that lead to what is recorded."""

from dataclasses import dataclass
from urllib.parse import quote, urlencode

from rml_dashboards.contract.tags import SUMMARY

VIEW = "viewStateShareKey"


@dataclass(frozen=True, kw_only=True)
class RunPage:
    """Where MLflow shows a run; addresses hold without its host."""

    experiment: str
    """Id of the experiment."""
    run: str
    """MLflow run id."""

    def of(self, place: str = "") -> str:
        """The run, or a file or folder of its artifacts."""
        run = f"#/experiments/{self.experiment}/runs/{self.run}"
        return f"{run}/artifacts/{quote(place)}" if place else run

    def of_summary(self, study: str) -> str:
        """The summary runs of a study, which may come later than the run."""
        wanted = urlencode({"searchFilter": f"tags.`{SUMMARY}` LIKE '{study}%'"}, quote_via=quote)
        return f"{runs_page(self.experiment)}?{wanted}"


def runs_page(experiment: str, view: str = "") -> str:
    """The runs of an experiment, in a view that is saved there."""
    return f"#/experiments/{experiment}/runs" + (f"?{VIEW}={quote(view)}" if view else "")
