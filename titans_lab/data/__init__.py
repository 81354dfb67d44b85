"""Read and prepare data: sources, tokenizers, and folders of memory-mapped tokens that studies train on."""
