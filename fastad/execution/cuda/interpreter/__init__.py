"""The interpreter for GPUs: the sweeps' cases over an arena in which lanes lie side by side, once a machine."""
