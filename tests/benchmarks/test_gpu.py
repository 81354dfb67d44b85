"""benchmarks/gpu.py in small on a CPU: every part that needs no Triton gives its rows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

GPU = Path(__file__).parents[2] / "benchmarks" / "gpu.py"
PARTS = ["determinism", "fla", "bench", "sweep", "together", "prediction", "memory"]


def test_the_parts_that_need_no_triton_give_their_rows(tmp_path: Path):
    out = tmp_path / "gpu.json"
    command = [sys.executable, str(GPU), "--device", "cpu", "--quick", "--out", str(out), "--only", *PARTS]
    subprocess.run(command, check=True, capture_output=True)
    parts = json.loads(out.read_text())["parts"]
    assert list(parts) == PARTS
    assert not [row for rows in parts.values() for row in rows if row.get("error")]
    assert {row["kernel"]: row["same_bits"] for row in parts["determinism"]} == {"torch": True, "cpu": True}
    assert all(row["largest_error"] < 1e-5 for row in parts["fla"])
    assert len(parts["bench"]) == 2
    assert parts["sweep"][0]["states"] == ["done", "done"]
    assert parts["prediction"][0]["ratio"] > 0
    assert parts["memory"][0]["micro_batch"] < parts["memory"][0]["batch"]
