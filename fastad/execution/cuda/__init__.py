"""Running requests on an NVIDIA GPU: many instances of one small program, each in a thread of its own (a lane)."""
