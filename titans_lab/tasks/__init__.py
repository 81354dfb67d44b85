"""What a model is trained on and measured by, one task a file."""
