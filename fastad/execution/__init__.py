"""Running op tables."""
