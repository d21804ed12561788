"""A run of all tests in several processes: how many, what is compiled before they start, a line of progress."""

import os
import subprocess
import sys
import time

import pytest

# Two processes of about the same length. The first compiles its three sweeps side by side again.
WARM_UPS = {
    "sweeps": "from fastad.execution.sweeps.kernel import warmup; warmup()",
    "kernels and drivers": "from fastad.execution.sweeps.kernel import warmup; warmup(modes=(), kernels=True)",
}
EVERY = 10  # seconds between lines of progress where lines cannot be rewritten


def choose_workers(config):
    """Where no test is named and pytest-xdist is there: a worker for each processor. Else as the options say."""
    option = config.option
    if is_worker(config):  # a worker comes here, too, and must not start workers of its own
        option.benchmark_disable = True
        return
    if not config.pluginmanager.hasplugin("xdist") or option.usepdb or option.collectonly:
        return
    if option.numprocesses is None and option.dist == "no" and config.args_source is config.ArgsSource.TESTPATHS:
        option.numprocesses = processors()
    if option.numprocesses and option.dist == "no":
        option.dist = "worksteal"  # neighbours mostly stay in one process, which shares what they compile
    if option.dist != "no":
        option.benchmark_disable = True  # else pytest-benchmark warns that it does so itself


def is_worker(config):
    """Whether pytest-xdist has started this process."""
    return hasattr(config, "workerinput") or "PYTEST_XDIST_WORKER" in os.environ


def processors():
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_controller(config):
    """Whether this process only hands tests to others."""
    return getattr(config.option, "dist", "no") != "no" and not is_worker(config)


def warm_up(config):
    """Have the sweeps, kernels and drivers in the disk cache. A failure shows in the tests that need them."""
    reporter, start = config.pluginmanager.getplugin("terminalreporter"), time.perf_counter()
    reporter.write(f"compiling {' and '.join(WARM_UPS)}, where the cache does not have them: ", flush=True)
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for code in WARM_UPS.values()
    ]
    for process in running:
        process.wait()
    reporter.write_line(f"{time.perf_counter() - start:.0f} s")


def report_progress(session):
    """One line that says how far the run is, in the place of a dot for each test; not with -v."""
    reporter = session.config.pluginmanager.getplugin("terminalreporter")
    if reporter and reporter.verbosity <= 0:
        session.config.pluginmanager.register(Progress(session, reporter), "progress")


class Progress:
    """Says how many tests are done, on one line of a terminal or a line every few seconds; failures at once."""

    def __init__(self, session, reporter):
        self.session, self.reporter = session, reporter
        self.done = self.failed = 0
        self.start = self.last = time.monotonic()

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self):
        category, *_ = yield
        return category, "", ""  # counted, not shown

    def pytest_runtest_logreport(self, report):
        self.done += report.when == "teardown"
        if report.failed:
            self.failed += 1
            self.line(f"FAILED {report.nodeid} ({report.when})")
        now = time.monotonic()
        if now - self.last >= (0.5 if self.reporter.isatty else EVERY):
            self.last = now
            self.show()

    def pytest_runtestloop(self):
        self.start = time.monotonic()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self):
        self.show()
        if self.reporter.isatty:
            self.reporter.write_line("")

    def show(self):
        total = max(self.session.testscollected, 1)
        minutes, seconds = divmod(int(time.monotonic() - self.start), 60)
        share, failed = self.done / total, self.failed
        text = f"{self.done:5d} of {total} tests ({share:4.0%}), {failed} failed, {minutes}:{seconds:02d}"
        if self.reporter.isatty:
            self.reporter.rewrite(text, erase=True)
        else:
            self.reporter.write_line(text)

    def line(self, text):
        if self.reporter.isatty:
            self.reporter.rewrite("", erase=True)
        self.reporter.write_line(text)
