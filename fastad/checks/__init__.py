"""Checks of derivatives, and profiles."""
