"""Sparsity: patterns of derivatives, colorings, and compressed evaluation."""
