"""Reads recorded runs; makes tables and figures of them.

    import rml_dashboards as rd

    study = rd.study("table4.yaml")
    study.paired("RML", "IML")

Only this door is loaded with the package: pandas and what reads records come with the first study.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rml_dashboards.studies.study import Study


def study(
    study: str | Path,
    *,
    out: str | Path = "outputs",
    storage: str | None = None,
    tracking_uri: str | None = None,
    profile: str | None = None,
    fresh: bool = False,
) -> "Study":
    """A study whose plan `rml plan` or `rml launch` wrote, with what its runs have recorded.

    Args:
        study: path of the study file, path of its written plan (`plan.json`), or its name.
        out: output folder of the launch, where the plan lies and what was read is kept.
        storage: path or URI of the folder that holds `runs/`; default: `out`.
        tracking_uri: MLflow server or database, or `none`: the run folders alone; default:
            MLFLOW_TRACKING_URI, else the SQLite file below `out`.
        profile: another size of the study, by its name in the file.
        fresh: read every record again instead of only new ones.
    Raises:
        DashboardError: there is no such plan, it is damaged, or it is not that of the study file
            as it is now; says what to do.
    """
    from rml_dashboards.studies.study import open_study

    return open_study(
        study, out=out, storage=storage, tracking_uri=tracking_uri, profile=profile, fresh=fresh
    )


__all__ = ["study"]
