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
MOST_RESTARTS=50
archive=$(mktemp)
trap 'rm -f "$archive"' EXIT

on_all() {
  gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all --command="$1"
}

state() {
  gcloud compute tpus tpu-vm describe "$TPU" --zone="$ZONE" --format='value(state)' 2>/dev/null || echo NONE
}

create() {
  gcloud compute tpus tpu-vm create "$TPU" --zone="$ZONE" --accelerator-type="$TYPE" --version="$VERSION" $SPOT
}

# What is committed here, to every host. The image's own Python is 3.10; uv brings another.
install() {
  git archive --format=tar.gz HEAD >"$archive" \
    && gcloud compute tpus tpu-vm scp "$archive" "$TPU:vae_jax.tar.gz" --zone="$ZONE" --worker=all \
    && on_all "sudo apt-get install -y -q nfs-common python3-pip && sudo mkdir -p /shared \
    && (mountpoint -q /shared || sudo mount $SHARE /shared) && rm -rf vae_jax && mkdir vae_jax \
    && tar -xzf vae_jax.tar.gz -C vae_jax && cd vae_jax \
    && python3 -m pip install -q uv && python3 -m uv venv -q --seed --python 3.12 --allow-existing ~/vae_jax_venv \
    && ~/vae_jax_venv/bin/pip install -q -r launch/requirements.txt \
    && ~/vae_jax_venv/bin/pip install -q -c launch/requirements.txt 'jax[tpu]' \
    && ~/vae_jax_venv/bin/pip install -q --no-deps ."
}

prepare() {
  case $(state) in
    READY) ;;
    NONE) create ;;
    *) gcloud compute tpus tpu-vm delete "$TPU" --zone="$ZONE" --quiet && create ;; # taken back, or half made
  esac && install
}

prepare # a mistake ends here
for ((restarts = 0; ; restarts++)); do
  code=0
  on_all "cd vae_jax && ~/vae_jax_venv/bin/python -u -m vae_jax.main --multihost $(printf '%q ' "$@")" || code=$?
  case $code in
    0 | 1 | 2) break ;; # done; diverged or broken; a mistake: none gets better by another try
  esac
  ((restarts < MOST_RESTARTS)) || break
  echo "exit code $code: starting again from the last checkpoint" >&2
  until sleep 60 && prepare; do
    echo "there is no such slice now (see above): asking again" >&2
  done
done
echo "The slice $TPU may still be there: gcloud compute tpus tpu-vm delete $TPU --zone=$ZONE"
exit "$code"
