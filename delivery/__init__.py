"""What is sent to other servers, after the commit: mail (outbox, mail, looks) and webhooks (courier, posting)."""
