"""Settings of a pytest run over the benchmarks; all in one process (bench.report uses one a library)."""
import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # see bench.crew
os.environ.setdefault("JAX_PLATFORMS", "cpu")
