"""Find the devices that runs may use, without importing torch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from titans_lab.environment import processor, usable_cores

#: Settings of glibc's allocator: keep freed memory, in large pages. Otherwise every step requests it from the system
#: again, page by page, which costs a deep memory a third of its time. Other allocators ignore the settings.
KEEP_FREED = ":".join(
    f"glibc.malloc.{name}={value}"
    for name, value in {"hugetlb": 1, "mmap_threshold": 4 * 2**30, "trim_threshold": 8 * 2**30}.items()
)


@dataclass(frozen=True)
class Device:
    """A device slot: room for one worker on a GPU or a core, or on several together.

    Attributes:
        kind: "cuda" for a GPU, "cpu" for a core.
        index: The UUID of the GPU, or the number of the core.
        name: The name in messages.
        hardware: The name of the model, as torch has it. It is equal for devices that compute alike.
        slot: The number of the slot, where one GPU or core has several.
        others: The slots on further GPUs or cores that the worker uses for the same run: see `joined`.
        node: The machine that has the device, where that is another one of the same Slurm job.
    """

    kind: Literal["cpu", "cuda"]
    index: str
    name: str
    hardware: str
    slot: int = 0
    others: tuple[Device, ...] = ()
    node: str = ""

    @property
    def nodes(self) -> list[str]:
        """Return the machine of each slot on another machine."""
        return [each.node for each in self.members if each.node]

    @property
    def members(self) -> tuple[Device, ...]:
        """Return the slots that a worker here occupies, each on a device of its own."""
        return replace(self, others=()), *self.others

    @property
    def label(self) -> str:
        """Return the name in messages, with the number of further slots."""
        return f"{self.name} and {len(self.others)} more" if self.others else self.name

    def environment(self) -> dict[str, str]:
        """Return the environment variables that restrict a worker to this device."""
        # Two workers whose products run on both cores each are many times slower than on one core each.
        threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        if self.others:  # torch's DDP would warn in each log that all parameters get gradients
            threads["TORCH_CPP_LOG_LEVEL"] = os.environ.get("TORCH_CPP_LOG_LEVEL", "ERROR")
        if self.kind == "cuda":
            here = [each.index for each in self.members if not each.node]
            return {"CUDA_VISIBLE_DEVICES": ",".join(here)} | threads
        tuned = {"GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", KEEP_FREED)}
        return {"CUDA_VISIBLE_DEVICES": ""} | threads | tuned


def cores() -> list[Device]:
    """Return a device slot for each core that this process may use, by the system's number of the core."""
    name = processor()
    return [Device("cpu", str(number), f"core {number}", name) for number in usable_cores()]


def gpus() -> list[Device]:
    """Return the GPUs that nvidia-smi lists.

    If CUDA_VISIBLE_DEVICES is set, return those that it names, in its order.
    """
    columns = ["nvidia-smi", "--query-gpu=index,uuid,name", "--format=csv,noheader"]
    try:
        listed = subprocess.run(columns, capture_output=True, text=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        return []  # no driver, or no device
    rows = [[cell.strip() for cell in line.split(",", 2)] for line in listed.splitlines() if line.count(",") >= 2]
    pool = os.environ.get("CUDA_VISIBLE_DEVICES")
    if pool is None:
        return [Device("cuda", uuid, f"GPU {index} {name}", name) for index, uuid, name in rows]
    return list(_chosen(rows, pool))


def joined(slots: Sequence[Device]) -> Device:
    """Return the slot of a worker that uses several at once, the first of them for its first rank."""
    return replace(slots[0], others=tuple(slots[1:]))


def mirrored(devices: Sequence[Device], nodes: Sequence[str]) -> list[Device]:
    """Return devices of this machine, and after them the same on other machines, which have equal ones."""
    there = [
        replace(device, index=f"{node} {device.index}", name=f"{node} {device.name}", node=node)
        for node in nodes
        for device in devices
    ]
    return [*devices, *there]


def on_distinct_devices(slots: Sequence[Device]) -> list[Device]:
    """Return the first slot of each GPU or core, those of this machine first.

    Return none where this machine has no slot, because the first rank of a run is here.
    """
    distinct: dict[tuple[str, str], Device] = {}
    for slot in slots:
        distinct.setdefault((slot.kind, slot.index), slot)
    found = sorted(distinct.values(), key=lambda slot: bool(slot.node))
    return found if found and not found[0].node else []


def _chosen(rows: list[list[str]], pool: str) -> list[Device]:
    """Return the GPUs that a CUDA_VISIBLE_DEVICES names.

    Indices or prefixes of UUIDs, up to the first that is invalid.
    """
    chosen = []
    for entry in (part.strip() for part in pool.split(",")):
        match = [row for row in rows if entry and (row[0] == entry or row[1].startswith(entry))]
        if not match:
            break
        chosen.append(Device("cuda", match[0][1], f"GPU {match[0][0]} {match[0][2]}", match[0][2]))
    return chosen


def one_of_each(devices: Sequence[Device]) -> list[Device]:
    """Return one device of each hardware model."""
    distinct: dict[tuple[str, str], Device] = {}
    for device in devices:
        distinct.setdefault((device.kind, device.hardware), device)
    return list(distinct.values())


def torch_sees_gpus() -> bool:
    """Return whether torch can use a GPU, as a separate process finds out."""
    code = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-P", "-c", code], capture_output=True).returncode == 0
