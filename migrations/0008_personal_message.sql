-- What the inviter says to the guest: shown in the mail and on the page of the invitation.
ALTER TABLE invites ADD COLUMN message TEXT CHECK (length(message) <= 500);
