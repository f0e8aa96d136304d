"""All faults by name. To add one: a function, and a line here."""

import signal

from rml_platform.chaos.faults import files, nodes, processes, tracking
from rml_platform.chaos.faults.fault import CLUSTER, LOCAL, PROCESS, Fault

RAY = (LOCAL, CLUSTER)

FAULTS: dict[str, Fault] = {
    "worker-killed": Fault(
        what="SIGKILL to the process that trains a run",
        strike=processes.on_worker(signal.SIGKILL),
    ),
    "worker-crashed": Fault(
        what="SIGSEGV in the process that trains a run",
        strike=processes.on_worker(signal.SIGSEGV),
    ),
    "worker-aborted": Fault(
        what="SIGABRT of one process of a group, as NCCL's watchdog ends it",
        strike=processes.on_worker(signal.SIGABRT),
    ),
    "worker-hung": Fault(
        what="SIGSTOP: a process that makes no step and holds all it has",
        strike=processes.on_worker(signal.SIGSTOP),
        grounds=RAY,
    ),
    "worker-paused": Fault(
        what="a process stands still for seconds and goes on",
        strike=processes.worker_stopped_for_a_while,
    ),
    "worker-locked": Fault(
        what="a C call that holds Python's lock for more than a minute",
        strike=processes.worker_locked,
        needs_hook=True,
    ),
    "controller-killed": Fault(
        what="SIGKILL to the controller of a Ray Train group",
        strike=processes.on_actor("TrainController", signal.SIGKILL),
        grounds=(CLUSTER,),
    ),
    "controller-crashed": Fault(
        what="SIGSEGV in the controller of a Ray Train group",
        strike=processes.on_actor("TrainController", signal.SIGSEGV),
        grounds=(CLUSTER,),
    ),
    "actor-killed": Fault(
        what="SIGKILL to the Tune actor of a run",
        strike=processes.on_actor("ImplicitFunc", signal.SIGKILL),
        grounds=RAY,
    ),
    "actor-crashed": Fault(
        what="SIGSEGV in the Tune actor of a run",
        strike=processes.on_actor("ImplicitFunc", signal.SIGSEGV),
        grounds=RAY,
    ),
    "launch-killed": Fault(
        what="SIGKILL to the launch", strike=processes.on_launch(signal.SIGKILL)
    ),
    "launch-crashed": Fault(
        what="SIGSEGV in the launch", strike=processes.on_launch(signal.SIGSEGV)
    ),
    "launch-stopped": Fault(
        what="SIGTERM to the launch, as every scheduler sends it",
        strike=processes.on_launch(signal.SIGTERM),
    ),
    "launch-interrupted": Fault(
        what="SIGINT to the launch: Ctrl-C", strike=processes.on_launch(signal.SIGINT)
    ),
    "launch-paused": Fault(
        what="a launch and all that it has started stand still for minutes, and go on",
        strike=processes.launch_paused,
        grounds=(PROCESS, LOCAL),
    ),
    "two-launches": Fault(
        what="a second launch of the same study at the same time", strike=processes.second_launch
    ),
    "followed-launch-killed": Fault(
        what="SIGKILL to a launch that another one follows",
        strike=processes.launch_and_follower_killed,
    ),
    "checkpoint-damaged": Fault(
        what="a file of a checkpoint truncated, overwritten or emptied",
        strike=files.damaged("runs/*/checkpoints/*/checkpoint_*/*", "checkpoint"),
    ),
    "checkpoints-deleted": Fault(
        what="all checkpoints of a run deleted", strike=files.all_files_of_a_run_gone
    ),
    "shared-stage-damaged": Fault(
        what="a file of a stage that runs share damaged",
        strike=files.damaged("beginnings/**/*", "shared stage"),
    ),
    "result-damaged": Fault(
        what="the result of a finished run damaged",
        strike=files.damaged("runs/*/result.json", "result"),
    ),
    "heartbeat-damaged": Fault(
        what="the last word of a run damaged",
        strike=files.damaged("runs/*/heartbeat.json", "heartbeat"),
    ),
    "claim-damaged": Fault(
        what="the claim on a run damaged", strike=files.damaged("runs/*/claims/*.json", "claim")
    ),
    "published-damaged": Fault(
        what="the note of what MLflow has of a run damaged",
        strike=files.damaged("runs/*/published.json", "note of what is published"),
    ),
    "plan-damaged": Fault(
        what="the written plan damaged", strike=files.damaged("studies/*/plan.json", "plan")
    ),
    "clock-ahead": Fault(
        what="a dead launch whose clock was a day ahead", strike=files.clock_ahead
    ),
    "disk-full": Fault(
        what="no checkpoint can be written (a limit on the size of files: EFBIG)",
        strike=files.disk_full,
    ),
    "mlflow-down": Fault(
        what="the MLflow server hangs up", strike=tracking.server_is("down"), needs_server=True
    ),
    "mlflow-slow": Fault(
        what="the MLflow server answers after seconds",
        strike=tracking.server_is("slow"),
        needs_server=True,
    ),
    "mlflow-failing": Fault(
        what="the MLflow server answers with 500",
        strike=tracking.server_is("failing"),
        needs_server=True,
    ),
    "mlflow-losing": Fault(
        what="the MLflow server does what it is asked, and its answers get lost",
        strike=tracking.server_is("losing"),
        needs_server=True,
    ),
    "node-killed": Fault(
        what="a node is gone",
        strike=nodes.on_node(nodes.killed),
        grounds=(CLUSTER,),
        owns_cluster=True,
    ),
    "node-back": Fault(
        what="a node is gone, and another one comes after a while",
        strike=nodes.on_node(nodes.killed_and_back),
        grounds=(CLUSTER,),
        owns_cluster=True,
    ),
    "node-drained": Fault(
        what="a node is taken away with seconds of notice (preemption)",
        strike=nodes.on_node(nodes.drained),
        grounds=(CLUSTER,),
        owns_cluster=True,
    ),
    "node-joins": Fault(
        what="a node joins", strike=nodes.grown, grounds=(CLUSTER,), owns_cluster=True
    ),
    "raylet-killed": Fault(
        what="SIGKILL to the raylet of a node",
        strike=nodes.on_node(nodes.raylet_killed),
        grounds=(CLUSTER,),
        owns_cluster=True,
    ),
    "cluster-shrunk": Fault(
        what="no node is left for a while",
        strike=nodes.shrunk_and_grown,
        grounds=(CLUSTER,),
        owns_cluster=True,
    ),
    "head-killed": Fault(
        what="SIGKILL to the GCS: the cluster dies, and another one comes",
        strike=nodes.head_killed,
        grounds=(CLUSTER,),
        owns_cluster=True,
    ),
}
