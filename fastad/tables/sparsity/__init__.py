"""Patterns of derivatives: which elements of the results depend on which inputs."""
