"""Text made ready once: sources read, tokens made of them, and folders of memory-mapped tokens that studies train on."""
