#!/usr/bin/env bash
# A study on several nodes of a Slurm cluster:
#   export RML_DATA=/shared/data                       # sbatch hands it on
#   sbatch --nodes=4 platform/deploy/slurm.sh STUDY.yaml --storage /shared/rml --tracking-uri http://mlflow:5000
# What stands behind the script goes to `rml launch`. The job is queued again when it is preempted, out of time, or when
# Ray died; it goes on from the newest checkpoints, so the time limit need not hold the grid.
#SBATCH --job-name=rml
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=rml-%j.log
#SBATCH --signal=B:TERM@60
set -euo pipefail

port=${RML_RAY_PORT:-6379}
most_restarts=${RML_MOST_RESTARTS:-50}
ray_died=75 # rml's exit code for it
stop_within=${RML_STOP_WITHIN:-30} # seconds that the launch gets to stop, of the 60 that --signal gives

# One token for every process of the job: nobody else on the nodes talks to its Ray. srun hands the environment on.
export RAY_AUTH_MODE=token
if [[ -z ${RAY_AUTH_TOKEN:-} && -z ${RAY_AUTH_TOKEN_PATH:-} ]]; then
  RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
  export RAY_AUTH_TOKEN
fi
export RAY_TMPDIR="${TMPDIR:-/tmp}/rml-$SLURM_JOB_ID" # short: the paths of Ray's sockets have 107 bytes

export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1} # srun does not take it from sbatch

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
others=$((${#nodes[@]} - 1))
on_head=(srun --overlap --nodes=1 --ntasks=1 --nodelist="$head")
on_all=(srun --overlap --nodes="${#nodes[@]}" --ntasks="${#nodes[@]}" --ntasks-per-node=1)
steps=()
launcher=
watcher=
is_stopping=

# Ray opens what it keeps to everybody, so the folder around it is this user's alone. By its mode and not by a umask: that
# would hide the runs under --storage from colleagues where srun hands it on, and do nothing where it does not.
# shellcheck disable=SC2016 # each node's own shell reads it
make_private='mkdir -p -m 700 -- "$1" && [[ -O $1 && ! -L $1 ]] && chmod 700 -- "$1"'

# Slurm sends SIGTERM to this script 60 s before the end (--signal). Before a preemption one comes only where the cluster has
# a GraceTime or PreemptParameters=send_user_signal; elsewhere the job is killed, and goes on from the checkpoints that it
# has. On SIGTERM rml keeps the checkpoints, stops its runs and ends with 143.
# shellcheck disable=SC2329 # the trap calls it
on_term() {
  is_stopping=yes
  [[ -z $launcher ]] || kill -TERM "$launcher" 2>/dev/null || true
}
trap on_term TERM

# Waits for a process whatever signals come meanwhile; its exit code is the result. Once it was told to stop it has its
# time: a script that Slurm kills while it waits queues nothing again.
wait_for() {
  local code until
  while [[ -z $is_stopping ]]; do
    code=0
    wait "$1" || code=$?
    kill -0 "$1" 2>/dev/null || return "$code"
  done
  for ((until = SECONDS + stop_within; SECONDS < until; )); do
    kill -0 "$1" 2>/dev/null || break
    sleep 0.2
  done
  if kill -0 "$1" 2>/dev/null; then
    echo "rml launch has not stopped within $stop_within s: it is ended, and nothing that it has stored is lost" >&2
    steps+=("$1")
    return 143
  fi
  code=0
  wait "$1" || code=$?
  return "$code"
}

# The first address of a node that others reach: what its name stands for may be its loopback (127.0.1.1) or of IPv6.
first_address() {
  local word
  for word in "$@"; do
    if [[ $word =~ ^[0-9]+(\.[0-9]+){3}$ && $word != 127.* ]]; then
      echo "$word"
      return
    fi
  done
}

# Ends the job's Ray, removes what it kept on the nodes, and queues the job again where something is left: Slurm does so by
# itself after a preemption (--requeue), but not when the time is over or when Ray died.
finish() {
  local code=$1 tries
  trap '' TERM
  [[ -z $watcher ]] || kill "$watcher" 2>/dev/null || true
  if ((${#steps[@]} > 0)); then
    kill -TERM "${steps[@]}" 2>/dev/null || true
    for ((tries = 0; tries < 50; tries++)); do
      kill -0 "${steps[@]}" 2>/dev/null || break # none is left
      sleep 0.2
    done
    kill -KILL "${steps[@]}" 2>/dev/null || true
  fi
  # Slurm empties no folder of a job by itself. A node that does not answer must not cost the place in the queue; SIGTERM is
  # ignored from here on, by what is started, too.
  timeout --signal=KILL 10 "${on_all[@]}" rm -rf -- "$RAY_TMPDIR" || echo "$RAY_TMPDIR may be left on some nodes" >&2
  if [[ -n $is_stopping || $code == "$ray_died" ]]; then
    if ((${SLURM_RESTART_COUNT:-0} < most_restarts)); then
      scontrol requeue "$SLURM_JOB_ID" || echo "not queued again: sbatch it by hand" >&2
    else
      echo "queued again $most_restarts times already: left as it is" >&2
    fi
  fi
  exit "$code"
}

# RML_HEAD_IP says which of several networks is meant.
head_ip=${RML_HEAD_IP:-}
if [[ -z $head_ip ]]; then
  found=$("${on_head[@]}" hostname -I)
  # shellcheck disable=SC2086 # one word for each address
  head_ip=$(first_address $found)
  if [[ -z $head_ip ]]; then
    if ((others > 0)); then
      echo "$head has no IPv4 address that the other nodes reach (hostname -I: $found); set RML_HEAD_IP" >&2
      exit 2
    fi
    head_ip=127.0.0.1
  fi
fi
address=$head_ip:$port
"${on_all[@]}" bash -c "$make_private" _ "$RAY_TMPDIR" || {
  echo "$RAY_TMPDIR cannot be made this user's own folder on every node" >&2
  exit 1
}
size=(--num-cpus="$SRUN_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" --disable-usage-stats --block)

"${on_head[@]}" ray start --head --node-ip-address="${address%:*}" --port="$port" --dashboard-host=127.0.0.1 \
  "${size[@]}" &
steps+=($!)
until "${on_head[@]}" ray health-check --address "$address" >/dev/null 2>&1; do
  [[ -z $is_stopping ]] || finish 143
  kill -0 "${steps[0]}" 2>/dev/null || { echo "Ray's head did not start on $head" >&2 && finish 1; }
  sleep 1
done

if ((others > 0)); then
  srun --nodes="$others" --ntasks="$others" --ntasks-per-node=1 --exclude="$head" \
    ray start --address="$address" "${size[@]}" &
  workers=$!
  steps+=("$workers")
  while kill -0 "$workers" 2>/dev/null; do sleep 1; done && # it goes on for as long as the job
    echo "Ray has ended on all nodes but $head before the launch has: it goes on there alone" >&2 &
  watcher=$!
fi

code=0
"${on_head[@]}" rml launch "$@" --address "$address" &
launcher=$!
[[ -z $is_stopping ]] || kill -TERM "$launcher"
wait_for "$launcher" || code=$?
finish "$code"
