-- Until when a mail is left to the server that is sending it. What is being sent while this step is taken, is nobody's.
ALTER TABLE outbox ADD COLUMN busy_until TIMESTAMP;
