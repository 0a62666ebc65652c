-- What a search compares where a text is not all ASCII. upkeep/folding.py fills it in: SQL folds no case.
ALTER TABLE users ADD COLUMN folded TEXT;
ALTER TABLE invites ADD COLUMN folded TEXT;
ALTER TABLE invites ADD COLUMN made_by_folded TEXT;
