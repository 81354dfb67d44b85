from __future__ import annotations

import itertools
import json
import threading
from pathlib import Path

import pytest

from titans_lab.store.files import DamagedError, read_json, write_bytes, write_json


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    records = [{"n": n, "text": "x" * 200_000 * n} for n in (1, 2)]
    write_json(path, records[0])
    stop = threading.Event()

    def overwrite() -> None:
        while not stop.is_set():
            for record in records:
                write_json(path, record)

    writer = threading.Thread(target=overwrite)
    writer.start()
    try:
        seen = [read_json(path) for _ in range(300)]
    finally:
        stop.set()
        writer.join()
    assert all(record in records for record in seen)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_bytes(path, b"old")
    with pytest.raises(TypeError):
        write_bytes(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_numbers_that_are_not_finite_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_json(path, {"loss": float("inf"), "other": float("nan")})
    record = read_json(path)
    assert record["loss"] == float("inf")
    assert record["other"] != record["other"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not JSON"),
        (b'{"a": 1', "is not JSON"),
        (b"\xff\x00\x9c", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[1]", "is not a JSON object"),
    ],
)
def test_damage_names_the_file_and_the_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=f"record.json: {reason}") as caught:
        read_json(path)
    assert caught.value.damage.path == path


def test_a_folder_in_the_place_of_a_file_is_damage(tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match="cannot be read: Is a directory"):
        read_json(tmp_path)


def test_records_are_written_as_plain_json(tmp_path: Path) -> None:
    write_json(tmp_path / "record.json", {"name": "tränen", "n": 1})
    assert json.loads((tmp_path / "record.json").read_text()).items() >= {"name": "tränen", "n": 1}.items()
    assert read_json(tmp_path / "record.json") == {"name": "tränen", "n": 1}


def test_every_flipped_bit_of_a_record_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_json(path, {"name": "x y", "loss": 2.25, "files": {"a": {"sha256": "0" * 64}}})
    content = path.read_bytes()
    for place, bit in itertools.product(range(len(content)), range(8)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :])
        with pytest.raises(DamagedError):
            read_json(path)


def test_a_record_without_a_checksum_is_read(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    record = {"files": {"metrics.parquet": {"bytes": 1, "sha256": "0" * 64}}}
    path.write_text(json.dumps(record, indent=1) + "\n")
    assert read_json(path) == record
