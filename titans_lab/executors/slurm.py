"""Run workers under Slurm: a job array of our own script, whose elements are `titans-lab work` processes.

Only `sbatch`, `squeue` and `scancel` are needed, on the machine that submits. `scontrol` requeues an element whose time
is over, where compute nodes have it, and `sacct` is asked about jobs that `squeue` has forgotten, where it answers.
"""

from __future__ import annotations

import math
import os
import pwd
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from titans_lab.errors import UserError
from titans_lab.executors.engine import JOB, SUBMISSION, Hand, WorkOrder
from titans_lab.executors.profiles import Seconds

HOUR, TWO_MINUTES = Seconds(3600), Seconds(120)
MOST_ELEMENTS = 1001  # Slurm's default of MaxArraySize, which bounds the index of an element
EARLY_SECONDS = 60.0  # Slurm may send a signal so much earlier than it was asked to
PATIENCE_SECONDS = 60.0  # how long a command of Slurm may take
TIME_IS_OVER = 4  # the exit code of `titans-lab work` whose time was over with runs left

#: Slurm's states of a job, in the words of `titans_lab.executors.engine.ENDS`.
ENDED = {
    "COMPLETED": "finished",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
    "REVOKED": "cancelled",
    "TIMEOUT": "time limit",
    "DEADLINE": "time limit",
    "OUT_OF_MEMORY": "out of memory",
    "PREEMPTED": "preempted",
    "NODE_FAIL": "node failure",
    "BOOT_FAIL": "node failure",
}
WAITING = frozenset(
    {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
)

#: The options of the script that an environment variable would override, and that variable.
OVERRIDING = {
    "array": "SBATCH_ARRAY_INX",
    "job-name": "SBATCH_JOB_NAME",
    "output": "SBATCH_OUTPUT",
    "open-mode": "SBATCH_OPEN_MODE",
    "signal": "SBATCH_SIGNAL",
    "requeue": "SBATCH_NO_REQUEUE",
    "time": "SBATCH_TIMELIMIT",
    "partition": "SBATCH_PARTITION",
    "account": "SBATCH_ACCOUNT",
    "qos": "SBATCH_QOS",
    "gres": "SBATCH_GRES",
    "constraint": "SBATCH_CONSTRAINT",
}

SCRIPT = """\
#!/bin/bash
{options}

export {submission}={name}
export {job}="slurm ${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"
{setup}
worker=
trap 'signalled=1; [ -n "$worker" ] && kill -USR1 "$worker"' USR1  # the time limit is near
trap 'signalled=1; [ -n "$worker" ] && kill -TERM "$worker"' TERM  # the job was cancelled or preempted
(trap '' USR1; exec {command} --until "$(({seconds} - SECONDS))s") &  # which reads of no signal before it listens
worker=$!
while signalled=; wait "$worker"; ended=$?; [ "$ended" = 127 ] || code=$ended; [ -n "$signalled" ]; do :; done
{notify}
if [ "$code" = {over} ] && command -v scontrol >/dev/null; then
  scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"
fi
exit "$code"
"""

#: The option of a worker that names the nodes of its job. Each says its name itself, since many have no scontrol.
NODES = """ --nodes "$(srun --quiet sh -c 'echo "$SLURMD_NODENAME"' | paste -sd,)\""""


@dataclass(frozen=True)
class SlurmProfile:
    """What a user asks of Slurm.

    Attributes:
        partition: The partition. "": the cluster's default, as for the other texts.
        account: The account.
        qos: The quality of service.
        constraint: The features that a node must have.
        gres: Generic resources of each worker, on each node, such as gpu:4. A worker trains on every GPU that it gets.
        nodes: The nodes of each worker, whose devices a run on several devices may share.
        cpus: Cores of each worker, on each node. Without a GPU it trains a run on each.
        memory: Memory of each worker, such as 16G.
        time: The time limit of each worker, in seconds; a duration such as 2h.
        lead: The time before that limit at which a worker stops its runs, for others to resume.
        workers: The number of workers. There are never more than runs.
        options: Further options of sbatch, such as --exclusive.
        setup: Shell lines before each worker, such as "module load cuda".
        notify: Shell lines after each worker, whose exit code is $code.
    """

    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    gres: str = ""
    nodes: int = 1
    cpus: int = 1
    memory: str = ""
    time: Seconds = HOUR
    lead: Seconds = TWO_MINUTES
    workers: int = 4
    options: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    notify: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.time < self.lead + EARLY_SECONDS:
            words = f"lead ({self.lead:g} s) leaves less than {EARLY_SECONDS:g} s of time ({self.time:g} s)"
            raise UserError(
                f"slurm: {words}; Slurm may send the signal so much earlier; set a smaller lead or more time"
            )
        for each in self.options:
            if not re.fullmatch(r"-\w.*|--\w[\w-]+.*", each):
                raise UserError(f"slurm: options: {each!r} is no option of sbatch; write it as --exclusive")


@dataclass(frozen=True)
class SlurmEngine:
    """Starts workers as elements of job arrays.

    Attributes:
        profile: What to ask for.
    """

    profile: SlurmProfile = field(default_factory=SlurmProfile)

    @property
    def name(self) -> str:
        """Return the name of the engine."""
        return "slurm"

    @property
    def detaches(self) -> bool:
        """Return whether workers outlive the process that submitted them."""
        return True

    def request(self, order: WorkOrder) -> str:
        """Return the script of each array."""
        return "\n".join(script(order, self.profile, elements) for elements in _arrays(order.workers))

    def submit(self, order: WorkOrder) -> list[str]:
        """Submit one array, or several where there are more workers than an array can have elements."""
        return [self._submit(order, elements) for elements in _arrays(order.workers)]

    def look(self, name: str, jobs: Sequence[str]) -> Mapping[str, Hand] | None:
        """Return the elements of the arrays. Jobs of another user or name do not count, because ids are used again."""
        columns = "--format=%i|%T|%r|%N"
        mine = ["--noheader", "--array", "--states=all", f"--user={_user()}", f"--name={_job_name(name)}", columns]
        asked = _asked("squeue", *mine)
        if asked is None or asked.returncode:
            return None
        found = {f"slurm {job}": hand for job, hand in _hands(asked.stdout, jobs)}
        return _forgotten(name, jobs) | found

    def cancel(self, name: str, jobs: Sequence[str]) -> None:
        """Cancel the arrays of a submission."""
        mine = [f"--user={_user()}", f"--name={_job_name(name)}"]
        asked = _asked("scancel", *mine)
        if asked is None or asked.returncode:
            words = asked.stderr.strip() if asked else "scancel is not on this machine or does not answer"
            raise UserError(f"slurm: the jobs {', '.join(jobs)} were not cancelled: {words}")

    def _submit(self, order: WorkOrder, elements: int) -> str:
        text = script(order, self.profile, elements)
        asked = _asked("sbatch", "--parsable", text=text, drop=_overriding(text))
        if asked is None:
            raise UserError("slurm: sbatch is not on this machine or does not answer; submit from a login node")
        job = asked.stdout.strip().split(";")[0]
        if asked.returncode or not job.isdecimal():
            raise UserError(f"slurm: sbatch refused the job: {asked.stderr.strip() or 'without a message'}")
        return job


def script(order: WorkOrder, profile: SlurmProfile, elements: int) -> str:
    """Return the script of an array with so many elements."""
    wanted = {
        "job-name": _job_name(order.name),
        "array": f"0-{elements - 1}",
        "nodes": str(profile.nodes),
        "ntasks": str(profile.nodes),
        "ntasks-per-node": "1",
        "cpus-per-task": str(profile.cpus),
        "time": _minutes(profile.time),
        "signal": f"B:USR1@{profile.lead:.0f}",
        "output": str(order.folder / "%A_%a.log").replace("%", "%%").replace("%%A_%%a.log", "%A_%a.log"),
        "open-mode": "append",
        "chdir": str(order.directory),
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "constraint": profile.constraint,
        "gres": profile.gres,
        "mem": profile.memory,
    }
    options = [f"--{key}={shlex.quote(value)}" for key, value in wanted.items() if value]
    options += ["--requeue", *profile.options]
    return SCRIPT.format(
        options="\n".join(f"#SBATCH {each}" for each in options),
        submission=SUBMISSION,
        name=order.name,
        job=JOB,
        setup="".join(f"{line}\n" for line in profile.setup),
        command=shlex.join([*order.command, *([] if profile.gres else ["--max-parallel", str(profile.cpus)])])
        + (NODES if profile.nodes > 1 else ""),
        seconds=round(profile.time - profile.lead),
        notify="".join(f"{line}\n" for line in profile.notify),
        over=TIME_IS_OVER,
    )


def slurm_checks(profile: SlurmProfile, store: Path) -> Iterator[tuple[str, str, str | None]]:
    """Yield the name, the value and the problem, if any, of each property of a cluster that a sweep depends on."""
    version = _asked("sbatch", "--version")
    if version is None:
        yield "Slurm", "none", "sbatch is not on this machine; submit from a login node"
        return
    queue = _asked("squeue", "--noheader", f"--user={_user()}")
    silent = "there is no squeue" if queue is None else queue.stderr.strip()
    answers = queue is not None and not queue.returncode
    yield "Slurm", version.stdout.strip() or "unknown", None if answers else f"it does not answer: {silent}"
    if not answers:
        return
    order = WorkOrder("doctor", ["true"], store.absolute(), Path.cwd(), 1)
    tried = _asked("sbatch", "--test-only", text=script(order, profile, 1), drop=list(OVERRIDING.values()))
    refused = tried is None or tried.returncode
    said = tried.stderr.strip().replace("\n", "; ") if tried else "no answer"
    yield "a worker of this profile", "no" if refused else "accepted", f"sbatch: {said}" if refused else None
    there = _asked("scontrol", "show", "config")
    config = dict(re.findall(r"^(\w+)[ \t]*=[ \t]*(.*?)[ \t]*$", there.stdout, re.MULTILINE)) if there else {}
    yield "elements of an array", config.get("MaxArraySize", "unknown"), None
    yield "jobs are requeued", {"1": "yes", "0": "no"}.get(config.get("JobRequeue", ""), "unknown"), None
    yield "preemption", config.get("PreemptMode", "unknown"), None
    accounts = _asked("sacct", "--noheader", f"--user={_user()}")
    works = accounts is not None and not accounts.returncode
    yield "accounting (sacct)", "yes" if works else "none: ends of jobs are known for some minutes only", None


def largest_array() -> int:
    """Return the most elements of an array."""
    asked = _asked("scontrol", "show", "config")
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", asked.stdout, re.MULTILINE) if asked else None
    return max(1, int(match[1])) if match else MOST_ELEMENTS


def _arrays(workers: int) -> list[int]:
    """Return the number of elements of each array, for so many workers."""
    most = largest_array() if workers > 1 else 1
    return [min(most, workers - begun) for begun in range(0, workers, most)]


def _hands(listed: str, jobs: Sequence[str]) -> Iterator[tuple[str, Hand]]:
    """Yield the elements of some arrays, or of any if their ids are not known, from the lines of squeue or sacct."""
    for line in listed.splitlines():
        name, state, reason, place = line.split("|")[:4]
        word = state.split()[0].rstrip("+")  # sacct says "CANCELLED by 1000"
        if jobs and name.partition("_")[0] not in jobs:
            continue
        if word in ENDED:
            yield name, Hand("ended", ENDED[word], place)
        elif word in WAITING:
            yield name, Hand("waiting", reason)
        else:
            yield name, Hand("running", "", place)


def _forgotten(name: str, jobs: Sequence[str]) -> dict[str, Hand]:
    """Return the elements as Slurm's accounting has them. There is none on many clusters."""
    if not jobs or not shutil.which("sacct"):
        return {}
    columns = "--format=JobID,State,Reason,NodeList,JobName"
    mine = [f"--user={_user()}", f"--name={_job_name(name)}", f"--jobs={','.join(jobs)}"]
    asked = _asked("sacct", "--noheader", "--parsable2", "--allocations", columns, *mine)
    if asked is None or asked.returncode:
        return {}
    return {f"slurm {job}": hand for job, hand in _hands(asked.stdout, jobs)}


def _asked(
    command: str, *arguments: str, text: str = "", drop: Sequence[str] = ()
) -> subprocess.CompletedProcess[str] | None:
    """Return the answer of a command of Slurm, or None where there is no such command or it does not answer."""
    environment = {key: value for key, value in os.environ.items() if key not in drop}
    try:
        return subprocess.run(
            [command, *arguments],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
            env=environment,
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None


def _overriding(text: str) -> list[str]:
    """Return the environment variables that would override an option of the script."""
    return [variable for option, variable in OVERRIDING.items() if f"#SBATCH --{option}" in text]


def _job_name(name: str) -> str:
    return f"titans-lab-{name}"


def _user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def _minutes(seconds: float) -> str:
    """Return a duration as Slurm reads it, in minutes, which are its unit."""
    return str(math.ceil(seconds / 60))
