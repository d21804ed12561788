"""Tier 0: interpreters of op tables, compiled once for all programs and kept on disk."""
