"""A poorer machine, for tests: `PYTHONPATH=tests/bare` takes away from every Python process what only Linux has.

Python imports a module of this name when it starts, before all others, in the processes that tests start too. What is
taken away: the processors that a process may use, fork and what belongs to it, /proc, signals that macOS lacks, and the
processor's name, without which there is neither libmvec nor fastad's own linker of ELF files.
"""

import builtins
import errno
import io
import os
import platform
import signal

os.environ["FASTAD_NO_LIBMVEC"] = "1"

for module, names in (
    (os, ("sched_getaffinity", "sched_setaffinity", "fork", "forkpty", "register_at_fork", "memfd_create")),
    (signal, ("sigtimedwait", "sigwaitinfo")),
):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)

platform.machine = lambda: "unknown"


def _without_proc(function):
    def outside(path, *args, **kwargs):
        if isinstance(path, str | bytes | os.PathLike) and os.fsdecode(path).startswith("/proc"):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fsdecode(path))
        return function(path, *args, **kwargs)

    return outside


io.open = builtins.open = _without_proc(open)
for name in ("open", "stat", "lstat", "listdir", "scandir", "readlink", "access"):
    setattr(os, name, _without_proc(getattr(os, name)))
