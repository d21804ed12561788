"""Op tables as text and pictures."""
