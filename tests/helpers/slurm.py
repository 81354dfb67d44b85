"""A real Slurm of two nodes on this machine, as root and without systemd, for tests that submit jobs to it."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
PACKAGES = "apt-get install slurm-wlm slurmctld slurmd slurm-client munge"
SECONDS = 60.0  # the most that a daemon may take to answer
NODES = ("alpha", "beta")
FOLDER = "titans-lab-slurm-"  # the beginning of the name of a cluster's folder
OWNER = "owner"  # a file in it
CORES = 2  # of each node, as Slurm sees it

CONFIG = """\
ClusterName=titans
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={root}/munge/munge.sock
CryptoType=crypto/munge
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool-%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd-%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=100000
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
KillWait=10
MaxArraySize=4
PropagateResourceLimits=NONE
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
{nodes}
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 State=UP
PartitionName=again Nodes=ALL PriorityTier=1 PreemptMode=REQUEUE State=UP
PartitionName=high Nodes=ALL PriorityTier=2 State=UP
"""


def missing() -> str | None:
    """Return why no Slurm can be started here, or None."""
    gone = [program for program in PROGRAMS if program_path(program) is None]
    if gone:
        return f"{', '.join(gone)} are not installed: {PACKAGES}"
    return None if os.geteuid() == 0 else "slurmd starts jobs of its own user only if it is root"


def program_path(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def require_slurm() -> None:
    """Skip a test that needs Slurm where there is none; in continuous integration it fails instead."""
    reason = missing()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


@dataclass(frozen=True)
class Slurm:
    """A cluster below a folder, which only root can enter."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "slurm.conf"

    def start(self) -> None:
        """Start its daemons, and wait until both nodes are idle."""
        for name in ("munge", "state", *(f"spool-{node}" for node in NODES)):
            (self.root / name).mkdir(parents=True)
        (self.root / "munge").chmod(0o711)
        key = self.root / "munge" / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        host, (port, *ports) = socket.gethostname().partition(".")[0], free_ports(1 + len(NODES))
        lines = [
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={at} CPUs={CORES} RealMemory=4000"
            for node, at in zip(NODES, ports, strict=True)
        ]
        self.config.write_text(CONFIG.format(host=host, port=port, root=self.root, nodes="\n".join(lines)))
        munge = self.root / "munge"
        self.call(
            *("munged", "--force", f"--key-file={key}", f"--socket={munge}/munge.sock"),
            *(f"--pid-file={munge}/munged.pid", f"--log-file={munge}/log", f"--seed-file={munge}/seed"),
        )
        self.call("slurmctld", "-c")
        for node in NODES:
            self.call("slurmd", "-c", "-N", node)
        self.idle()

    def idle(self) -> None:
        """Wait until both nodes are idle."""
        self.wait(lambda: set(self.call("sinfo", "-h", "-N", "-o", "%T").split()) == {"idle"}, "idle nodes")

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Keep a file of this cluster locked, by which a later session knows that nobody has abandoned the cluster."""
        with (self.root / OWNER).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def members(self) -> list[int]:
        """Return the process ids of daemons, steps and jobs: whoever has a file of the cluster open or its name around.

        A step overwrites its environment, and a job closes files.
        """
        return [int(folder.name) for folder in Path("/proc").glob("[0-9]*") if self._has(folder)]

    def steps(self) -> list[int]:
        """Return the process ids of those that have the tasks of a step as children."""
        listed = subprocess.run(["ps", "-C", "slurmstepd", "-o", "pid="], capture_output=True, text=True).stdout
        return [int(pid) for pid in listed.split() if self._has(Path(f"/proc/{pid}"))]

    def _has(self, process: Path) -> bool:
        try:
            marked = f"SLURM_CONF={self.config}".encode() in (process / "environ").read_bytes().split(b"\0")
            return marked or any(str(self.root) in str(link.readlink()) for link in (process / "fd").iterdir())
        except OSError:
            return False

    def stop(self) -> None:
        """Cancel all jobs, and end the daemons, and then whatever a step has left."""
        self.call("scancel", "--user=root")
        self.wait(lambda: not self.call("squeue", "-h", "-o", "%i"), "an empty queue")
        names = (*(f"slurmd-{node}.pid" for node in NODES), "slurmctld.pid", "munge/munged.pid")
        pids = [int((self.root / name).read_text()) for name in names if (self.root / name).exists()]
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        self.wait(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "the end of the daemons")
        self.kill()

    def kill(self) -> None:
        """Kill all processes of the cluster but this one, which may have its configuration in the environment, too."""
        for pid in self.members():
            with suppress(ProcessLookupError):
                if pid != os.getpid():
                    os.kill(pid, signal.SIGKILL)

    def call(self, program: str, *arguments: str) -> str:
        """Run a program of Slurm, and return what it prints."""
        command = [program_path(program) or program, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=self.environ())
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def environ(self) -> dict[str, str]:
        return os.environ | {"SLURM_CONF": str(self.config)}

    def queue(self, columns: str = "%i %T") -> list[list[str]]:
        """Return the jobs that wait or run, a list of words for each."""
        return [line.split() for line in self.call("squeue", "-h", "--array", "-o", columns).splitlines()]

    def wait(self, condition: Callable[[], object], what: str) -> None:
        end_of_patience = time.monotonic() + SECONDS
        while time.monotonic() < end_of_patience:
            if condition():
                return
            time.sleep(0.1)
        raise AssertionError(f"{what}: not within {SECONDS} s")


def remove_abandoned() -> None:
    """Kill and remove the clusters of sessions that were killed themselves: nobody holds the lock in their folder."""
    for root in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        with suppress(OSError), (root / OWNER).open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            Slurm(root).kill()
            shutil.rmtree(root)


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens at."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
