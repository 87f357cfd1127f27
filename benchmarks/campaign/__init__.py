"""The parts of the fault campaign and of the soak; the commands are benchmarks/faults.py and benchmarks/soak.py."""
