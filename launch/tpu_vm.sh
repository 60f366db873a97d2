#!/usr/bin/env bash
# One run on a Cloud TPU slice of its own, of any number of hosts. In the folder of the project:
#   TPU=vae-jax ZONE=us-west4-a TYPE=v5litepod-64 SHARE=10.0.0.2:/share launch/tpu_vm.sh --config=configs/celeba_vae.py \
#     --workdir=/shared/runs/faces
# SHARE is an NFS export (Filestore) that every host mounts as /shared: data and run folders lie there. The slice is a
# spot one; where it is taken back it is made again, and the run goes on. SPOT= (empty) asks for one that stays.
set -euo pipefail
: "${TPU:?a name for the slice}" "${ZONE:?}" "${TYPE:?as v5litepod-64}" "${SHARE:?HOST:/PATH of an NFS export}"
VERSION=${VERSION:-v2-alpha-tpuv5-lite} # the TPU software that TYPE needs
SPOT=${SPOT---spot}

on_all() {
  gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all --command="$1"
}

state() {
  gcloud compute tpus tpu-vm describe "$TPU" --zone="$ZONE" --format='value(state)' 2>/dev/null || echo NONE
}

set_up() {
  gcloud compute tpus tpu-vm create "$TPU" --zone="$ZONE" --accelerator-type="$TYPE" --version="$VERSION" $SPOT
  git archive --format=tar.gz -o "/tmp/$TPU.tar.gz" HEAD
  gcloud compute tpus tpu-vm scp "/tmp/$TPU.tar.gz" "$TPU:vae_jax.tar.gz" --zone="$ZONE" --worker=all
  on_all "sudo apt-get install -y -q nfs-common python3-venv && sudo mkdir -p /shared \
    && (mountpoint -q /shared || sudo mount $SHARE /shared) && mkdir -p vae_jax && tar -xzf vae_jax.tar.gz -C vae_jax \
    && cd vae_jax && python3 -m venv .venv && .venv/bin/pip install -q -r launch/requirements.txt \
    && .venv/bin/pip install -q -c launch/requirements.txt 'jax[tpu]' && .venv/bin/pip install -q --no-deps ."
}

while true; do
  case $(state) in
    READY) ;;
    NONE) set_up ;;
    *) # taken back, or half made
      gcloud compute tpus tpu-vm delete "$TPU" --zone="$ZONE" --quiet
      set_up
      ;;
  esac
  code=0
  on_all "cd vae_jax && .venv/bin/python -u -m vae_jax.main --multihost $(printf '%q ' "$@")" || code=$?
  case $code in
    0 | 1 | 2) break ;; # done; diverged or broken; a mistake: none gets better by another try
  esac
  echo "exit code $code: starting again from the last checkpoint" >&2
  sleep 30
done
echo "The slice $TPU is still there: gcloud compute tpus tpu-vm delete $TPU --zone=$ZONE"
exit "$code"
