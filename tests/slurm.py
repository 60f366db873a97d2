"""A Slurm of two nodes on this machine, for the tests: Debian's slurmctld and two slurmd on loopback."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from processes import free_port

NODES = ("vae-jax-1", "vae-jax-2")
PACKAGES = ("slurm-wlm", "munge")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")

# A requeued job waits until its credential has expired, two minutes by default.
CONF = """
ClusterName=test
SlurmctldHost={controller}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
KillWait=60
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Slurm:
    """A context manager; `run` is a command of Slurm's under its configuration."""

    def __init__(self, folder: Path):
        _install()
        self.folder, self._daemons = folder, []
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}

    def __enter__(self) -> "Slurm":
        for name in ("state", "munge", *(f"spool-{node}" for node in NODES)):
            (self.folder / name).mkdir()
        controller = subprocess.run(["hostname", "-s"], check=True, capture_output=True, text=True).stdout.strip()
        lines = [f"NodeName={node} NodeAddr=127.0.0.1 NodeHostname={node} Port={free_port()} CPUs=1" for node in NODES]
        conf = CONF.format(folder=self.folder, controller=controller, port=free_port(), nodes="\n".join(lines))
        (self.folder / "slurm.conf").write_text(conf)
        key = self.folder / "munge" / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        files = {"socket": "socket", "key-file": "key", "log-file": "log", "pid-file": "pid", "seed-file": "seed"}
        options = [f"--{option}={self.folder}/munge/{name}" for option, name in files.items()]
        self._start("munged", "--foreground", "--force", *options)
        self._start("slurmctld", "-D", "-c")
        for node in NODES:
            self._start("slurmd", "-D", "-N", node)
        self.wait_until(lambda: self.run("sinfo", "-h", "-o", "%T").split() == ["idle"], seconds=60)
        return self

    def __exit__(self, *_) -> None:
        for daemon in reversed(self._daemons):
            daemon.terminate()
            daemon.wait(timeout=30)

    def run(self, *command: str) -> str:
        """What the command prints; "" where it fails, as before the controller listens."""
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment)
        return done.stdout.strip() if done.returncode == 0 else ""

    def wait_until(self, condition, *, seconds: float) -> None:
        """Waits for the condition; the test fails, with what the daemons said last, where it takes longer."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                logs = [f"{log.name}: {log.read_text()[-2000:]}" for log in self.folder.glob("*.log")]
                pytest.fail("\n".join(["Slurm is not where it should be", *logs]))
            time.sleep(0.2)

    def _start(self, program, *arguments):
        with open(self.folder / f"{program}.out", "a") as out:
            options = {"stdout": out, "stderr": out, "env": self.environment}
            self._daemons.append(subprocess.Popen([shutil.which(program, path=_PATH), *arguments], **options))


_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def _install() -> None:
    """Installs Slurm where there is none, and names its nodes; the test is skipped where that can't be done."""
    if os.getuid() != 0:
        pytest.skip("Slurm's daemons need root")
    if not all(shutil.which(program, path=_PATH) for program in PROGRAMS):
        if not shutil.which("apt-get"):
            pytest.skip("no Slurm, and no apt-get to install it with")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", *PACKAGES]):
            done = subprocess.run(["apt-get", *command], capture_output=True, text=True, env=environment)
            if done.returncode:
                pytest.skip(f"no Slurm, and apt-get {command[0]} failed: {done.stderr.strip()[-300:]}")
    hosts = Path("/etc/hosts")
    if NODES[0] not in hosts.read_text():  # jax finds its coordinator by the name of the first node
        with open(hosts, "a") as file:
            file.write(f"127.0.0.1 {' '.join(NODES)}\n")
