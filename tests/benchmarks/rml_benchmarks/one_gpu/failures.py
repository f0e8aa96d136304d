"""`python -m rml_benchmarks.one_gpu.failures OUT SINCE`: a line `<kind> <run id>` for every run
that has failed since then (seconds since 1970) and is not done; `device` where its GPU was lost."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rml_dashboards.contract.run_folder import FAILURE_FILE, RUNS
from rml_platform.run.faults.retry_policy import classify
from rml_platform.run.run_folder import RunFolder


def failures(out: str, since: float) -> Iterator[str]:
    """The lines. Raises DamagedFileError for what a run wrote that cannot be read."""
    for file in sorted(Path(out, RUNS).glob(f"*/{FAILURE_FILE}")):
        run = RunFolder.of(out, file.parent.name)
        failure = run.failure()
        if failure is not None and failure.time >= since and run.result() is None:
            kind = classify((failure.kind,), failure.message)
            yield f"{kind.value} {run.run_id}"


def main(words: Sequence[str]) -> None:
    """Print the lines."""
    out, since = words
    for line in failures(out, float(since)):
        print(line)


if __name__ == "__main__":
    main(sys.argv[1:])
