"""Op tables in files."""
