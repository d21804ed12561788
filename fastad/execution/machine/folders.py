"""The cache's folder: where it is, and files in it that are written whole."""

import atexit
import contextlib
import os
import stat
import warnings
from pathlib import Path

from fastad.once import once


def folder() -> Path | None:
    """The cache's folder, made if need be; None if there is no place to write to.

    It is $FASTAD_CACHE_DIR, $XDG_CACHE_HOME/fastad or ~/.cache/fastad. If that cannot be used, or others can
    write to it, a temporary folder takes its place until the process ends, after one warning.
    """
    return _usable(_wanted_folder())


def is_kept() -> bool:
    """Whether other processes find what this one keeps."""
    return folder() == Path(_wanted_folder())


def _wanted_folder() -> str:
    if chosen := os.environ.get("FASTAD_CACHE_DIR"):
        return os.path.abspath(chosen)
    base = os.environ.get("XDG_CACHE_HOME", "")
    return os.path.join(base if os.path.isabs(base) else os.path.expanduser("~/.cache"), "fastad")


@once
def _usable(wanted: str) -> Path | None:
    complaint = _complaint(wanted)
    if complaint is None:
        return Path(wanted)
    warnings.warn(
        f"fastad keeps compiled code for this process only: its cache folder {wanted} {complaint}. "
        "Set FASTAD_CACHE_DIR to a folder of your own that nobody else can write to.",
        RuntimeWarning,
        stacklevel=2,
    )
    return _temporary_folder()


def _complaint(path: str) -> str | None:
    """Make the folder; return why it cannot be used, or None."""
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        status = os.stat(path)
        if not stat.S_ISDIR(status.st_mode):
            return "is not a folder"
        if os.name != "nt" and status.st_uid != os.geteuid():
            return "belongs to another user"
        if os.name != "nt" and status.st_mode & 0o022:
            return "can be written to by other users"
        handle, probe = _new_file(path)
        os.close(handle)
        os.unlink(probe)
    except OSError as error:
        return f"cannot be used ({error.strerror})"
    return None


@once
def _temporary_folder() -> Path | None:
    import shutil  # with compression, half a megabyte
    import tempfile

    try:
        path = Path(tempfile.mkdtemp(prefix="fastad-"))
    except OSError:
        return None
    owner = os.getpid()
    # A forked child that ends normally must not take the folder away from its parent.
    atexit.register(lambda: shutil.rmtree(path, ignore_errors=True) if os.getpid() == owner else None)
    return path


def subfolder(name: str) -> Path | None:
    """A folder in the cache's, made if need be; None if there is no place to write to."""
    base = folder()
    if base is None:
        return None
    with contextlib.suppress(OSError):
        (base / name).mkdir(mode=0o700, exist_ok=True)
    return base / name


def write(path: Path, *pieces: bytes) -> None:
    """Write a file so that readers see all of it or nothing."""
    handle, temporary = _new_file(path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(pieces)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _new_file(where: str | os.PathLike[str]) -> tuple[int, str]:
    """A file that did not exist, opened to be written by this user alone, and its path; `tempfile`, which makes such
    ones too, takes half a megabyte."""
    while True:
        path = os.path.join(where, f"new-{os.urandom(8).hex()}")
        with contextlib.suppress(FileExistsError):
            return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o600), path
