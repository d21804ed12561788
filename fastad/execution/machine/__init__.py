"""Machine code: compiled, linked, kept on disk, and the functions of libraries that it calls."""
