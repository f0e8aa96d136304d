"""What a run's folder says at one moment, in the words of a tracker."""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rml_dashboards.contract.metric_keys import FINAL_STEP, final_metrics
from rml_dashboards.contract.run_folder import TASK_FILE
from rml_dashboards.contract.tags import Tag, failure_text, heartbeat_tags, task_tags
from rml_platform.run.codec import DamagedFileError
from rml_platform.run.metric_log import Measurement, pieces
from rml_platform.run.run_folder import Heartbeat, Result, RunFolder, RunRecord
from rml_platform.run.task import Process, RunTask
from rml_platform.tracking.mlflow_store import DataSet
from rml_platform.tracking.shown.pages import RunPage
from rml_platform.tracking.tracker import OnNote


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """A run that has begun."""

    run: RunFolder
    task: RunTask
    record: RunRecord
    heartbeat: Heartbeat

    @classmethod
    def read(cls, run: RunFolder) -> "RunFacts | None":
        """The run as it is now; None before it has begun. Raises DamagedFileError."""
        task = run.task()
        record = run.record()
        heartbeat = record.heartbeat
        if task is not None and heartbeat is None and record.result is not None:
            heartbeat = _last_word(task, record.result)
        if task is None or heartbeat is None:
            return None
        facts = cls(run=run, task=task, record=record, heartbeat=heartbeat)
        try:
            facts.parameters()
            facts.tags(has_failed=False)
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise DamagedFileError(
                f"{run.folder.path}/{TASK_FILE} is damaged: config_json: "
                f"{type(error).__name__}: {error}"
            ) from error
        return facts

    def parameters(self) -> dict[str, str]:
        """Its configuration as flat parameters."""
        return flatten(json.loads(self.task.config_json))

    def tags(self, *, has_failed: bool) -> dict[str, str]:
        """What can be said of it beside its values; `has_failed`: the tracker tells of a failure,
        which may be overcome by now."""
        tags = task_tags(dataclasses.asdict(self.task))
        tags |= heartbeat_tags(dataclasses.asdict(self.heartbeat))
        if self.record.result is not None:
            tags[Tag.PROTOCOL] = self.record.result.evaluations[0].protocol
        if self.record.failure is not None:
            tags[Tag.FAILURE] = failure_text(self.record.failure.kind, self.record.failure.message)
        elif has_failed:
            tags[Tag.FAILURE] = ""
        return tags

    def description(self, page: RunPage) -> dict[str, str]:
        """Tags in which MLflow shows a run to a person: what it is, in Markdown, and what it was
        made by. Written when the run is made, since a person may change them.

        Args:
            page: where MLflow shows it.
        """
        task = self.task
        tags = task_tags(dataclasses.asdict(task))
        words = (
            f"**{tags[Tag.METHOD]}** on {tags[Tag.DATA]}, split `{tags[Tag.SPLIT]}`, "
            f"seed {tags[Tag.SEED]}",
            f"* trained by the study `{task.study}`, code `{task.code_version}`"
            + (" with uncommitted changes" if task.dirty else ""),
            f"* [pictures]({page.of('predictions')}), "
            f"[table, report and figures of the study]({page.of_summary(task.study)})",
            f"* masks of your own images: `rml predict {self.run.run_id} IMAGE.png`",
        )
        return {
            "mlflow.note.content": "\n".join((words[0], "", *words[1:])),
            "mlflow.source.name": f"{task.study} ({task.code_version})",
            "mlflow.source.git.commit": task.code_version,
            "mlflow.source.type": "PROJECT",
        }

    def data_sets(self) -> list[DataSet]:
        """The images that it was trained on, those with labels and those without; as one where the
        task does not say how many there are of each."""
        task = self.task
        tags = task_tags(dataclasses.asdict(task))
        data = tags[Tag.DATA]
        counts = {"labelled": task.num_labelled, "unlabelled": task.num_unlabelled}
        known = {part: num for part, num in counts.items() if num}
        names = {part: f"{data}, {num} {part}" for part, num in known.items()} or {"training": data}
        return [
            DataSet(
                name=name,
                digest=f"{task.data_hash}-{task.split_hash}",
                source=json.dumps({"data": data, "split": tags[Tag.SPLIT]}),
                profile=json.dumps(
                    {
                        **({"num_rows": known[part]} if part in known else {}),
                        **known,
                        "split": tags[Tag.SPLIT],
                        "classes": len(task.class_names),
                    }
                ),
                context=part,
            )
            for part, name in names.items()
        ]

    def pieces(self, after: int, on_note: OnNote) -> list[tuple[int, list[Measurement]]]:
        """What was measured after a step and counts: up to the newest checkpoint, or to the end;
        each piece with its step."""
        last = math.inf if self.record.state == "done" else self.heartbeat.checkpoint_step
        return pieces(self.run.folder, after, last, on_note)

    def final_values(self) -> list[Measurement]:
        """Its result's scores; none before it has one."""
        result = self.record.result
        if result is None:
            return []
        time_ms = int(result.time * 1000)
        values = final_metrics(result.evaluations, result.seconds)
        return [Measurement(key, FINAL_STEP, time_ms, value) for key, value in values.items()]


def _last_word(task: RunTask, result: Result) -> Heartbeat:
    """What a finished run said last, as far as its result tells: nobody writes its heartbeat again
    where that is damaged."""
    return Heartbeat(
        launch_id=task.launch_id,
        launcher=task.launcher,
        worker=Process(host=result.host, pid=0, started=""),
        device=result.device,
        attempt=result.attempt,
        launch_attempt=1,
        micro_batches=result.micro_batches,
        state="stopped",
        step=result.steps,
        num_steps=result.steps,
        checkpoint_step=result.steps,
        seconds=result.seconds,
        time=result.time,
    )


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested configuration as flat `a.b.c` parameters."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list) else str(value)
    return flat
