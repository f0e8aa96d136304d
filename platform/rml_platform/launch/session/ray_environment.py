"""What Ray is told before anything is started: environment variables, and whose job it is."""

import os
import secrets
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from rml_trainers.errors import ConfigError

if TYPE_CHECKING:
    from ray.job_config import JobConfig

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # default 2.0: every checkpoint would wait that long
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Ctrl-C must reach us: the run folders, not Tune's state, are what we resume
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "GLOG_minloglevel": "3",
    # default 60: too short on a machine that is busy with other work
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "180",
    "RAY_DASHBOARD_SUBPROCESS_MODULE_WAIT_READY_TIMEOUT": "120",
    # default 15: beside any other busy process training would nearly stand still
    "RAY_worker_niceness": "0",
}


LOOPBACK = "127.0.0.1"

LAUNCH_MARK = "rml.launch"
"""Key in the metadata of a Ray job that tells a launch's from other people's."""


def check_address(address: str) -> None:
    """Raise ConfigError for an address that Ray gives to its clients and submitters, `ray://…` and
    `http://…`: what a launch asks of a cluster is not to be had through them."""
    if "://" in address:
        raise ConfigError(
            f"{address}: a launch has to be on the cluster's own network, and joins it by "
            "--address host:port or auto (RAY_ADDRESS says the same); from outside run it on the "
            "cluster: ray job submit --address http://HEAD:8265 -- rml launch …"
        )


def prepare_environment(*, local: bool) -> None:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", module=r"ray\..*")
    token_file = Path.home() / ".ray" / "auth_token"
    known = {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys()
    if local:
        # What Ray does on Windows and macOS, where clusters are not supported: its processes listen
        # on the loopback interface only.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        # One process less per run.
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    if local and not known and not token_file.exists():
        # Ray guards local clusters by a token that it would otherwise write into the home folder.
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def job_config() -> "JobConfig":
    """Marks this driver's job as a launch of ours, for `placement_groups.remove_orphans`."""
    from ray.job_config import JobConfig

    return JobConfig(metadata={LAUNCH_MARK: "1"})
