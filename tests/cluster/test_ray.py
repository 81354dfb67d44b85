"""What happens to workers under a real Ray when processes and nodes die."""

from __future__ import annotations

import subprocess

import pytest
from ray_cluster import ray_node
from workbench import ENDLESS, Workbench, begun, parents, stop, until

from titans_lab.store.folder import Attempt, RunFolder

pytestmark = pytest.mark.ray

LONG = (ENDLESS, "log.every=1", "log.checkpoint_seconds=0")


def resumed(folder: RunFolder, after: int) -> Attempt | None:
    """Return the latest attempt if it is a later one that trains from a checkpoint."""
    latest = folder.latest()
    again = latest is not None and latest.number > after and begun(folder) and latest.env().get("resumed_from")
    return latest if again else None


@pytest.mark.usefixtures("ray")
def test_runs_go_on_when_the_process_of_a_task_or_its_node_dies(bench: Workbench):
    command = bench.command("sweep", *LONG, "--on", "ray", "--set", "workers=1", "--set", "resources=extra=1")
    [folder] = bench.folders(*LONG)
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as coordinator:
        try:
            with ray_node(extra=1):
                until(lambda: begun(folder), "the first line of metrics")
                [task] = parents("titans_lab work", bench.root)
                stop(task)
                attempt = until(lambda: resumed(folder, 1), "an attempt after the death of the process")
            with ray_node(extra=1):  # the first one was killed
                until(lambda: resumed(folder, attempt.number), "an attempt after the death of the node")
        finally:
            coordinator.kill()
