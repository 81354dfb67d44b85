"""A trained run under lm-eval (EleutherAI's language model evaluation harness, 0.4.x), and the paper's table of it."""
