"""Execute runs: the devices of this machine, and one contract for every way of starting a worker on them."""
