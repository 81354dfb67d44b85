"""What is asked of a finished run, and the process that answers."""
