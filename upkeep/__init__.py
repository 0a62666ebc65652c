"""A database as a whole: backup, restore, migration, moving to another, and deleting what has expired."""
