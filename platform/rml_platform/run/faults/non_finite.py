"""`non_finite.json` of a run that stopped over a loss or weight that is no number: where it stood,
and what it read.

Batches are a function of (seed, stage, step), so their images' names and the checkpoint before them
are all that it takes to make the steps again (`rml replay`).
"""

from dataclasses import dataclass

from rml_platform.run.codec import Codec
from rml_platform.run.run_folder import RunFolder

FILE = "non_finite.json"


@dataclass(frozen=True, kw_only=True)
class NonFinite:
    """Where a run met what is no number."""

    checkpoint: str | None
    """`<writer>/<checkpoint>` of the last good one, None where there is none: the steps are made
    again from the first."""
    checkpoint_step: int
    """0 without one."""
    first_step: int
    """The first of the steps in one of which it happened, counted from 1 over all stages."""
    last_step: int
    """The last of them: where it was found."""
    num_workers: int
    micro_batches: int


NON_FINITE = Codec[NonFinite](NonFinite)


def write_non_finite(run: RunFolder, found: NonFinite) -> None:
    run.folder.write(FILE, NON_FINITE.encode(found))


def read_non_finite(run: RunFolder) -> NonFinite | None:
    """None where the run never met any. Raises DamagedFileError."""
    content = run.folder.read(FILE)
    return None if content is None else NON_FINITE.decode(content, f"{run.folder.path}/{FILE}")
