"""Counts and sizes."""

from __future__ import annotations

import pytest

from titans_lab.quantities import count, memory, parse_size


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (950, "950"),
        (999.9, "1K"),
        (1234, "1.23K"),
        (421_376, "421K"),
        (4e6, "4M"),
        (1.5e15, "1.5P"),
        (-2e6, "-2M"),
    ],
)
def test_counts_have_three_digits(number: float, text: str):
    assert count(number) == text


@pytest.mark.parametrize(("size", "text"), [(1536, "2 KiB"), (512 * 2**20, "512 MiB"), (3 * 2**29, "1.5 GiB")])
def test_memory_is_in_powers_of_two(size: float, text: str):
    assert memory(size) == text


@pytest.mark.parametrize(
    ("text", "kilo", "size"),
    [
        ("200000", 1000, 200_000),
        ("1K", 1000, 1000),
        ("1.5m", 1000, 1_500_000),
        ("2GB", 1000, 2 * 10**9),
        ("4G", 1024, 2**32),
    ],
)
def test_a_size_has_a_unit(text: str, kilo: int, size: int):
    assert parse_size(text, kilo) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "1X", "many", "0.1"])
def test_a_text_that_is_no_size_is_refused(text: str):
    with pytest.raises(ValueError, match=r"is not a size; write 200000, 512M or 4G"):
        parse_size(text)
