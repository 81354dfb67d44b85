"""Evaluate a finished run with lm-eval (EleutherAI's LM evaluation harness, 0.4.x), and print the paper's table."""
