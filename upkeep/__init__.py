"""The database as a file: who uses it, its copies, its way from one version to the next."""
