"""What is sent to other servers, after the commit."""
