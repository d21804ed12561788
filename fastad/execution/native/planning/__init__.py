"""The plan of a native program: which rows fuse, where values live, what is called. No code is written here."""
