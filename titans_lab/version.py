"""The version of titans-lab."""

__version__ = "0.1.0"
