#!/bin/bash
# Trains a recipe on several nodes of a SLURM cluster:
#   sbatch --nodes=2 slurm.sh gfn2-md10-5k/tensornet out --set trainer.batch_size=64
# Nodes, tasks and GPUs are what you ask for here; the recipe's trainer follows them.

#SBATCH --job-name=zoo-train
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gres=gpu:4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@180
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log

# one task for each GPU of a node. Every task must see all GPUs of its node, so ask for them with
# --gres or --gpus-per-node, not with --gpus-per-task. On CPUs: no --gres, and one task per node
# with the threads of its cores

# source your environment here, and let the nodes do without a network if they have none:
# export ZOO_OFFLINE=1
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}

recipe=$1 output=$2
shift 2

# --resume starts where there is no state. If one task dies, the others can't go on
srun --kill-on-bad-exit=1 zoo train "$recipe" -o "$output" --resume \
  --set trainer.num_nodes="$SLURM_NNODES" --set trainer.devices="$SLURM_NTASKS_PER_NODE" "$@"
code=$?

# 130: stopped with its state saved, as SIGUSR1 asks 180 seconds before the time is up; 138: the
# same signal, outside the training. Anything else is over, or an error that would come again
if [ "$code" -eq 130 ] || [ "$code" -eq 138 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
