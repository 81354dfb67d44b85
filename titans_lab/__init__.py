"""titans-lab: ablation and scaling studies of test-time memory, from a YAML file to a report."""

__version__ = "0.1.0"
