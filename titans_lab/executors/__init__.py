"""Where runs are executed: devices, and one contract for every way of starting a worker on them."""
