"""Text made ready once: sources, tokenizers, and folders of memory-mapped tokens that studies train on."""
