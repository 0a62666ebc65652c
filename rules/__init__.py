"""What is allowed and what happens. No HTTP and no terminal here; nothing here commits."""
