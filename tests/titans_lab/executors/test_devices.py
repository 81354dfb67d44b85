from __future__ import annotations

import os
from pathlib import Path

import pytest

from titans_lab.environment import processor
from titans_lab.errors import UserError
from titans_lab.executors.devices import Device, cores, gpus, joined, mirrored, on_distinct_devices, one_of_each
from titans_lab.launch import of_nodes

LISTED = """\
0, GPU-1111aaaa-2222, NVIDIA H200
1, GPU-3333bbbb-4444, NVIDIA RTX 6000, Ada
2, GPU-3333cccc-5555, NVIDIA H200
"""


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A command of that name before all others; what follows its first line is for the test to say."""
    command = tmp_path / "nvidia-smi"
    command.write_text(f"#!/bin/sh\ncat <<'END'\n{LISTED}END\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return command


def indices(found: list[Device]) -> str:
    return "".join(gpu.name.split()[1] for gpu in found)


def test_gpus_are_those_that_the_driver_lists(nvidia_smi: Path):
    assert gpus() == [
        Device("cuda", "GPU-1111aaaa-2222", "GPU 0 NVIDIA H200", "NVIDIA H200"),
        Device("cuda", "GPU-3333bbbb-4444", "GPU 1 NVIDIA RTX 6000, Ada", "NVIDIA RTX 6000, Ada"),
        Device("cuda", "GPU-3333cccc-5555", "GPU 2 NVIDIA H200", "NVIDIA H200"),
    ]


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        ("2,0", "20"),
        (" 1 , 2 ", "12"),
        ("GPU-3333cccc-5555,1", "21"),
        ("GPU-3333b", "1"),
        ("", ""),
        ("-1", ""),
        ("NoDevFiles", ""),
        ("0,-1,2", "0"),
        ("0,7,2", "0"),
        ("0,,2", "0"),
    ],
)
def test_the_pool_is_read_as_cuda_reads_it(nvidia_smi: Path, monkeypatch: pytest.MonkeyPatch, pool: str, expected: str):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", pool)
    assert indices(gpus()) == expected


def test_a_driver_without_a_device_means_no_gpu(nvidia_smi: Path):
    nvidia_smi.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed: no driver'; exit 9\n")
    assert gpus() == []


def test_output_of_nvidia_smi_that_is_no_list_means_no_gpu(nvidia_smi: Path):
    nvidia_smi.write_text("#!/bin/sh\necho 'No devices were found'\n")
    assert gpus() == []


def test_no_driver_means_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus() == []


def test_a_worker_on_a_gpu_sees_that_one_alone():
    assert Device("cuda", "GPU-7", "", "").environment()["CUDA_VISIBLE_DEVICES"] == "GPU-7"


def test_a_worker_on_a_core_sees_no_gpu_and_uses_one_thread():
    given = Device("cpu", "3", "", "").environment()
    given.pop("GLIBC_TUNABLES")
    assert given == {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def test_a_worker_on_a_core_keeps_freed_memory_unless_the_user_says_how(monkeypatch):
    core = Device("cpu", "3", "", "")
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    assert "mmap_threshold" in core.environment()["GLIBC_TUNABLES"]
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=1")
    assert core.environment()["GLIBC_TUNABLES"] == "glibc.malloc.check=1"


def test_one_device_of_each_hardware_model_is_chosen(nvidia_smi: Path):
    assert indices(one_of_each(gpus())) == "01"
    [core] = one_of_each(cores())
    assert core.hardware == processor()


def test_there_is_a_place_for_each_core_that_the_process_may_use():
    if not hasattr(os, "sched_setaffinity"):
        return
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {max(before)})
        assert [core.index for core in cores()] == [str(max(before))]
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("membership", "files", "count"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/job/step\n", {"job/cpu.max": "100000 100000\n", "job/step/cpu.max": "max 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 8),
        (
            "3:cpu,cpuacct:/x\n",
            {"cpu,cpuacct/x/cpu.cfs_quota_us": "300000\n", "cpu,cpuacct/x/cpu.cfs_period_us": "100000\n"},
            3,
        ),
        ("3:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ("1:memory:/\n", {"memory/cpu.max": "100000 100000\n"}, 8),
    ],
)
def test_a_quota_bounds_the_cores(
    membership: str, files: dict[str, str], count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "membership").write_text(membership)
    monkeypatch.setattr("titans_lab.environment.CGROUPS", tmp_path)
    monkeypatch.setattr("titans_lab.environment.MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8, 16)), raising=False)
    assert [core.index for core in cores()] == [str(number) for number in range(8, 8 + count)]


TWO = [Device("cuda", f"GPU-{name}", f"GPU {name}", "H200") for name in "ab"]


def test_a_run_on_several_nodes_has_its_first_rank_here_and_sees_the_gpus_of_this_node_alone():
    slots = mirrored(TWO, ["n2", "n3"])
    assert [slot.node for slot in slots] == ["", "", "n2", "n2", "n3", "n3"]
    assert on_distinct_devices(slots[::-1])[0].node == ""
    assert on_distinct_devices(slots[2:]) == []
    device = joined(slots[:3])
    assert device.nodes == ["n2"]
    assert device.environment()["CUDA_VISIBLE_DEVICES"] == "GPU-a,GPU-b"


def test_a_worker_uses_as_many_cores_of_each_node_as_its_job_has(monkeypatch: pytest.MonkeyPatch):
    here = [Device("cpu", str(number), f"core {number}", "") for number in range(4)]
    monkeypatch.setenv("SLURMD_NODENAME", "n1")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "2")
    assert [slot.name for slot in of_nodes(here, "n2,n1")] == ["core 0", "core 1", "n2 core 0", "n2 core 1"]
    assert of_nodes(here, None) == here
    with pytest.raises(UserError, match="--nodes n2,n3: this node is n1; start the worker in a Slurm job"):
        of_nodes(here, "n2,n3")
