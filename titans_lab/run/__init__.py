"""A run: its configuration, its id, its costs, the metrics that it is judged by, and its record, without torch."""
