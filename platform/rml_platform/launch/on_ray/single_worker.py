"""Ray Train backend of a group of one worker; a module of its own, because the controller process
loads it."""

from ray.train import BackendConfig


class SingleWorker(BackendConfig):  # type: ignore[misc]
    """No process group to set up, so the controller of the group need not load torch (3 s of CPU
    per run)."""

    backend = "none"
