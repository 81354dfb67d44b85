"""Run workers under Ray: each is a task whose process starts `titans-lab work`.

Ray ends the tasks of a process that leaves. So workers live as long as their coordinator, and nothing can be detached.
A task whose process or node dies is started again by Ray.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from titans_lab.environment import library_version
from titans_lab.errors import UserError, install
from titans_lab.executors.engine import JOB, SUBMISSION, Hand, WorkOrder

OLDEST = (2, 40)


@dataclass(frozen=True)
class RayProfile:
    """What a user asks of Ray.

    Attributes:
        address: The address of a running cluster, such as ray-head:6379, or auto. "": that of $RAY_ADDRESS, or else
            a local one is started.
        cpus: Cores of each worker. Without a GPU it trains a run on each.
        gpus: GPUs of each worker, which may be a fraction, such as 0.5.
        resources: Custom resources of each worker, such as "a100=1".
        workers: The number of workers. There are never more than runs.
    """

    address: str = ""
    cpus: int = 1
    gpus: float = 0.0
    resources: tuple[str, ...] = ()
    workers: int = 4

    def needs(self) -> dict[str, Any]:
        """Return the options of each task."""
        custom: dict[str, float] = {}
        for each in self.resources:
            name, _, number = each.partition("=")
            try:
                custom[name] = float(number)
            except ValueError:
                raise UserError(f"ray: resources: {each!r} is not NAME=NUMBER; write a100=1") from None
        found = {"num_cpus": self.cpus, "num_gpus": self.gpus, "max_retries": -1}
        return found | ({"resources": custom} if custom else {})


@dataclass(frozen=True)
class RayEngine:
    """Starts workers as tasks.

    Attributes:
        profile: What to ask for.
        tasks: The tasks that this process has started, by submission and job.
    """

    profile: RayProfile = field(default_factory=RayProfile)
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the name of the engine."""
        return "ray"

    @property
    def detaches(self) -> bool:
        """Return whether workers outlive the process that submitted them."""
        return False

    def request(self, order: WorkOrder) -> str:
        """Return the cluster, the tasks and their command, as JSON."""
        asked = {
            "address": self.profile.address or "a local cluster",
            "tasks": order.workers,
            "options": self.profile.needs(),
            "command": _command(order, self.profile),
            "directory": str(order.directory),
        }
        return json.dumps(asked, indent=1)

    def submit(self, order: WorkOrder) -> list[str]:
        """Start a task for each worker."""
        ray, needs = _connected(self.profile), self.profile.needs()
        task = ray.remote(**needs)(_work)
        jobs = [f"ray {number}" for number in range(order.workers)]
        hidden = {} if self.profile.gpus else {"CUDA_VISIBLE_DEVICES": ""}  # a task without a GPU sees all of them
        self.tasks[order.name] = {
            job: task.options(name=f"titans-lab-{order.name} {job}").remote(
                _command(order, self.profile),
                str(order.directory),
                {SUBMISSION: order.name, JOB: job, **hidden},
                str(order.folder / f"{job.replace(' ', '_')}.log"),
            )
            for job in jobs
        }
        return jobs

    def look(self, name: str, jobs: Sequence[str]) -> Mapping[str, Hand] | None:
        """Return the tasks of a submission of this process. Others cannot be asked for."""
        if name not in self.tasks:
            return None
        ray = _ray()
        ended, _ = ray.wait(list(self.tasks[name].values()), num_returns=len(self.tasks[name]), timeout=0)
        return {job: _ended(ray, task) if task in ended else Hand("running") for job, task in self.tasks[name].items()}

    def cancel(self, name: str, jobs: Sequence[str]) -> None:
        """End the tasks of a submission of this process."""
        if name not in self.tasks:
            raise UserError("ray: only the sweep that started these workers can end them; end it with Ctrl-C")
        for task in self.tasks[name].values():
            _ray().cancel(task, force=True)


def ray_checks(profile: RayProfile) -> list[tuple[str, str, str | None]]:
    """Return the name, the value and the problem, if any, of each property of Ray that a sweep depends on."""
    version = library_version("ray")
    old = version is not None and tuple(map(int, version.split(".")[:2])) < OLDEST
    wrong = f"is older than {'.'.join(map(str, OLDEST))}; update it" if old else None
    found = [("Ray", version or "none", wrong if version else f"is missing; {install('ray')}")]
    if not version or old:
        return found
    try:
        ray = _connected(profile)
    except UserError as error:
        return [*found, ("cluster", profile.address or "local", str(error))]
    total, needs = ray.cluster_resources(), profile.needs()
    wanted = {"CPU": needs["num_cpus"], "GPU": needs["num_gpus"], **needs.get("resources", {})}
    short = [
        f"{name} {total.get(name, 0):g} of {number:g}" for name, number in wanted.items() if total.get(name, 0) < number
    ]
    words = ", ".join(f"{total[name]:g} {name}" for name in ("CPU", "GPU") if name in total)
    return [*found, ("cluster", words, f"too small for one worker: {', '.join(short)}" if short else None)]


def _work(command: list[str], directory: str, environment: dict[str, str], log: str) -> int:
    """Run a worker in a task, and return its exit code. The worker ends with the task's process."""
    with Path(log).open("ab") as file:
        return subprocess.run(
            command, cwd=directory, env=os.environ | environment, stdout=file, stderr=file, check=False
        ).returncode


def _command(order: WorkOrder, profile: RayProfile) -> list[str]:
    """Return the command of a worker, which gets SIGTERM when the process of its task dies."""
    tied = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
    return [*tied, *order.command, *([] if profile.gpus else ["--max-parallel", str(profile.cpus)])]


def _ended(ray: Any, task: Any) -> Hand:
    try:
        code = ray.get(task)
    except ray.exceptions.RayError as error:
        gone = isinstance(error, ray.exceptions.NodeDiedError | ray.exceptions.WorkerCrashedError)
        return Hand("ended", "node failure" if gone else "cancelled")
    return Hand("ended", "failed" if code not in (0, 4) else "finished")


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise UserError(f"--on ray: Ray is not installed; {install('ray')}") from None
    return ray


def _connected(profile: RayProfile) -> Any:
    """Return the library, connected to the profile's cluster."""
    ray, address = _ray(), profile.address or os.environ.get("RAY_ADDRESS", "")
    if ray.is_initialized():
        return ray
    try:
        ray.init(
            address=address or "local",
            log_to_driver=False,
            include_dashboard=False,
            logging_level="error",
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = address or "a local cluster"
        words = str(error).partition("\n")[0].rstrip(".")
        raise UserError(f"ray: {where} cannot be reached: {words}; set address, and use the cluster's token") from error
    return ray
