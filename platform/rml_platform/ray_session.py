"""Starting and stopping Ray: a quiet one of our own on this machine, or somebody's cluster."""

import contextlib
import logging
import os
import secrets
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # default 2.0: every checkpoint would wait that long
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C must reach us: the run folders, not Tune's state, are what we resume
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "GLOG_minloglevel": "3",
}


@contextlib.contextmanager
def ray_session(
    address: str | None, *, with_train: bool, num_cpus: int | None = None, num_gpus: int | None = None
) -> Iterator[None]:
    """Ray for the duration of a launch.

    Without an address a new local one is started that only this machine can reach, and is gone with everything it
    started when the context ends or this process dies. Only `train` needs its dashboard process, which frees the
    resources of a Ray Train group whose controller was killed.
    """
    _prepare_environment(local=address is None)
    import ray

    with tempfile.TemporaryDirectory(prefix="rml-ray-", ignore_cleanup_errors=True) as folder:
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
        if address is None:
            ray.init(
                address="local",
                num_cpus=num_cpus or os.cpu_count(),
                num_gpus=num_gpus,
                include_dashboard=with_train,
                dashboard_host="127.0.0.1",
                _temp_dir=folder,
                **quiet,
            )
        else:
            ray.init(address=address, **quiet)
        try:
            yield
        finally:
            ray.shutdown()


def _prepare_environment(*, local: bool) -> None:
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", module=r"ray\..*")
    token_file = Path.home() / ".ray" / "auth_token"
    known = {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys()
    if local and not known and not token_file.exists():
        # Ray guards local clusters by a token that it would otherwise write into the home folder.
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
