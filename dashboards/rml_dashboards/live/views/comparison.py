"""Two runs beside each other: settings that differ, scores, IoU of classes, and what both have."""

from typing import Any

from rml_dashboards.live.reading.storage import RunStorage
from rml_dashboards.live.reading.watch import Snapshot
from rml_dashboards.live.views.run_list import status_json
from rml_dashboards.live.views.run_views import RunFacts, run_facts, score_tables
from rml_dashboards.studies.differences import sides


def compared(storage: RunStorage, snapshot: Snapshot, first: str, second: str) -> dict[str, Any]:
    """What a page needs to compare two runs that have a folder."""
    facts = [run_facts(storage, run_id) for run_id in (first, second)]
    settings = sides([own.settings for own in facts])
    tasks = sides([own.task for own in facts])
    tables = [_first_scores(own) for own in facts]
    return {
        "version": snapshot.version,
        "runs": [
            {
                "run_id": run_id,
                **status_json(snapshot.status(run_id)),
                "network": table["network"],
                "protocol": table["protocol"],
            }
            for run_id, table in zip((first, second), tables, strict=True)
        ],
        "differing": [line for line in settings + tasks if line[1] != line[2]],
        "num_same": sum(line[1] == line[2] for line in settings),
        "scores": sides([table["scores"] for table in tables]),
        "iou": sides([table["iou"] for table in tables]),
        "is_same_data": len({own.task["data_hash"] for own in facts if "data_hash" in own.task})
        < 2,
        "pictures": [name for name in facts[0].pictures if name in set(facts[1].pictures)],
    }


def _first_scores(facts: RunFacts) -> dict[str, Any]:
    tables = score_tables(facts.scores)
    return tables[0] if tables else {"network": "", "protocol": "", "scores": {}, "iou": {}}
