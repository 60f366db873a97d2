"""What lies in launch/ is right: manifests, scripts and the container's build steps."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import yaml
from processes import ROOT

from vae_jax.config import load_file
from vae_jax.errors import DivergedError, StoppedError, UserError

LAUNCH = ROOT / "launch"
JOBSETS = {
    document["metadata"]["name"]: document for document in yaml.safe_load_all((LAUNCH / "jobset.yaml").read_text())
}
FINAL = {UserError.exit_code, DivergedError.exit_code}  # exit codes that no other try makes better

each_jobset = pytest.mark.parametrize("jobset", JOBSETS.values(), ids=JOBSETS.keys())


def workers(jobset):
    (job,) = jobset["spec"]["replicatedJobs"]
    return job["replicas"], job["template"]["spec"]


def container(jobset):
    (container,) = workers(jobset)[1]["template"]["spec"]["containers"]
    return container


@each_jobset
def test_a_jobset_has_the_fields_of_its_kind(jobset):
    assert jobset["apiVersion"] == "jobset.x-k8s.io/v1alpha2"
    assert jobset["spec"].keys() <= {"replicatedJobs", "network", "successPolicy", "failurePolicy", "startupPolicy"}
    assert jobset["spec"]["network"].keys() <= {"enableDNSHostnames", "subdomain", "publishNotReadyAddresses"}
    assert all(job.keys() == {"name", "replicas", "template"} for job in jobset["spec"]["replicatedJobs"])
    policy = jobset["spec"]["failurePolicy"]
    assert policy.keys() <= {"maxRestarts", "restartStrategy", "rules"}
    for rule in policy["rules"]:
        assert rule.keys() <= {"name", "action", "onJobFailureReasons", "targetReplicatedJobs"}
        assert rule["action"] in ("FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts")
        assert set(rule["onJobFailureReasons"]) <= {"BackoffLimitExceeded", "DeadlineExceeded", "PodFailurePolicy"}


@each_jobset
def test_a_job_starts_all_again_but_for_what_no_other_try_makes_better(jobset):
    _, job = workers(jobset)
    (rule,) = job["podFailurePolicy"]["rules"]
    assert (rule["action"], rule["onExitCodes"]["operator"]) == ("FailJob", "In")
    assert set(rule["onExitCodes"]["values"]) == FINAL
    assert StoppedError.exit_code not in FINAL
    assert rule["onExitCodes"]["containerName"] == container(jobset)["name"]
    assert job["backoffLimit"] == 0
    assert job["template"]["spec"]["restartPolicy"] == "Never", "which a podFailurePolicy asks for"


@each_jobset
def test_the_processes_of_a_jobset_are_counted_once(jobset):
    replicas, job = workers(jobset)
    arguments = container(jobset)["args"]
    assert job["parallelism"] == job["completions"]
    assert job["completionMode"] == "Indexed"
    assert "--multihost" in arguments
    for argument in arguments:
        if argument.startswith("--processes="):
            assert int(argument.partition("=")[2]) == replicas * job["parallelism"]


@each_jobset
def test_a_jobset_trains_a_config_of_this_project_where_its_volumes_are(jobset):
    arguments = dict(argument.removeprefix("--").partition("=")[::2] for argument in container(jobset)["args"])
    load_file(str(ROOT / arguments["config"]))
    assert arguments["workdir"].startswith("/shared/")
    mounted = {mount["name"] for mount in container(jobset)["volumeMounts"]}
    assert mounted == {volume["name"] for volume in workers(jobset)[1]["template"]["spec"]["volumes"]}


def test_the_account_of_the_jobsets_may_see_what_jax_asks_for():
    """jax/_src/clusters/k8s_cluster.py lists pods and services, and reads its Job."""
    account, role, binding = yaml.safe_load_all((LAUNCH / "rbac.yaml").read_text())
    names = {workers(jobset)[1]["template"]["spec"]["serviceAccountName"] for jobset in JOBSETS.values()}
    assert names == {account["metadata"]["name"]} == {subject["name"] for subject in binding["subjects"]}
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    may = {
        (group, kind): set(rule["verbs"])
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for kind in rule["resources"]
    }
    assert may[("", "pods")] >= {"list"} and may[("", "services")] >= {"list"} and may[("batch", "jobs")] >= {"get"}


@pytest.mark.parametrize("name", ["slurm.sbatch", "tpu_vm.sh"])
def test_a_script_parses_and_gives_up_on_what_no_other_try_makes_better(name):
    subprocess.run(["bash", "-n", LAUNCH / name], check=True)
    (codes,) = re.findall(r"^ *([\d |]+)\) *(?:exit|break)", (LAUNCH / name).read_text(), re.MULTILINE)
    assert set(map(int, codes.split("|"))) == {0, *FINAL}


GCLOUD = """#!/bin/bash
# A slice that is taken back once, after which there is none for a while.
cd "$(dirname "$0")"
case "$*" in
  *describe*) cat state ;;
  *create*) echo create >> calls; [[ $(grep -c create calls) != 2 ]] && echo READY > state ;;
  *delete*) echo delete >> calls; rm state ;;
  *vae_jax.main*) echo train >> calls; [[ $(grep -c train calls) == 2 ]] || { echo PREEMPTED > state; exit 255; } ;;
esac
"""


def test_a_tpu_slice_that_is_taken_back_is_made_again(tmp_path):
    for name, text in (("gcloud", GCLOUD), ("sleep", "#!/bin/bash\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    place = {"TPU": "test", "ZONE": "z", "TYPE": "t", "SHARE": "host:/share"}
    environment = {**os.environ, **place, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["bash", LAUNCH / "tpu_vm.sh", "--config=x"], check=True, cwd=ROOT, env=environment, timeout=60)
    calls = (tmp_path / "calls").read_text().split()
    assert calls == ["create", "train", "delete", "create", "create", "train"]


def test_every_xla_flag_set_is_one_that_jax_knows():
    """An unknown flag ends the process with a message."""
    found = set(re.findall(r"--xla_\w+=\w+", "".join(path.read_text() for path in LAUNCH.iterdir() if path.is_file())))
    assert len(found) > 2
    command = [sys.executable, "-c", "import jax; jax.devices()"]
    subprocess.run(command, check=True, env={**os.environ, "XLA_FLAGS": " ".join(found)})


@pytest.mark.long
def test_the_containers_build_steps_make_it_in_a_clean_folder(tmp_path):
    """Its instructions by hand, without an accelerator; then the manifests by the Kubernetes package that is in it."""
    root, environment = tmp_path / "vae_jax", {**os.environ, "ACCELERATOR": "cpu"}
    venv.create(tmp_path / "venv", with_pip=True)
    environment["PATH"] = f"{tmp_path / 'venv' / 'bin'}:{environment['PATH']}"
    environment.pop("PYTHONPATH", None)
    root.mkdir()
    entrypoint = None
    for line in (LAUNCH / "Dockerfile").read_text().splitlines():
        instruction, _, rest = line.partition(" ")
        if instruction == "COPY":
            *sources, target = rest.split()
            for source in sources:
                copy(ROOT / source, root / target / (source if target.endswith("/") else ""))
        elif instruction == "RUN":
            subprocess.run(["bash", "-ec", rest], check=True, cwd=root, env=environment)
        elif instruction == "ENV":
            name, _, value = rest.partition("=")
            environment[name] = value
        elif instruction == "ENTRYPOINT":
            entrypoint = [shlex.split(part.strip().strip('"'))[0] for part in rest.strip("[]").split(",")]
        else:
            assert instruction in ("FROM", "ARG", "WORKDIR", "#", ""), line
    train = ["--config=configs/digits.py", "--config.train.steps=8", "--config.eval.importance_samples=0"]
    subprocess.run([*entrypoint, *train], check=True, cwd=root, env=environment)
    assert (root / "runs" / "digits" / "report" / "index.html").exists()
    manifests = [str(LAUNCH / name) for name in ("rbac.yaml", "jobset.yaml")]
    subprocess.run(["python", str(ROOT / "tests" / "manifests.py"), *manifests], check=True, env=environment)


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)
