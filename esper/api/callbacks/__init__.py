"""Growth inside training loops that other libraries own; import the module of yours, it needs its extra."""
