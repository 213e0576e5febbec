#!/bin/bash
# One command of video2lora on the machines of a Slurm allocation:
#
#   sbatch infra/clusters/slurm.sh train --workdir /shared/work --profile full --workers 8
#
# `ray symmetric-run` starts Ray on every machine, runs the command on the first, and stops Ray when it ends.
# A job that is to be preempted gets SIGTERM five minutes before; the same job goes on when it is queued again.
#SBATCH --job-name=video2lora
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=48
#SBATCH --mem=0
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@300
#SBATCH --requeue
#SBATCH --output=video2lora-%j.log
set -euo pipefail
: "${1:?name a command, as in: sbatch infra/clusters/slurm.sh train --workdir /shared/work}"

# The environment that `make setup` made, on a file system that all machines see.
venv=${VIDEO2LORA_VENV:-$SLURM_SUBMIT_DIR/.venv}
export PATH=$venv/bin:$PATH

# Only who knows this allocation's token may use its Ray.
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN RAY_USAGE_STATS_ENABLED=0 OMP_NUM_THREADS=1

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 20000)) # two jobs may share a machine
srun ray symmetric-run \
  --address "$first:$port" \
  --min-nodes "$SLURM_JOB_NUM_NODES" \
  --num-cpus "$SLURM_CPUS_PER_TASK" \
  --num-gpus "${SLURM_GPUS_ON_NODE:-0}" \
  -- video2lora "$@" --address "$first:$port"
