"""Programs on NVIDIA's GPUs: one instance of a program a thread (a lane), interpreted or compiled."""
