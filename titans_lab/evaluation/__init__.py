"""Evaluate a finished run: the requests, and the process that answers them."""
