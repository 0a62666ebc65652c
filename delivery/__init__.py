"""What leaves the house after the commit."""
