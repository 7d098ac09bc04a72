-- expand: programs that know version 3 go on; they alert again of whatever is reached again, and leave these columns as they
-- are: what they count is never below what is read as the peak. The PostgreSQL twin of this file differs in types only.

-- peak: the most that was used in the window since one of its limits was set. retold: how often alerts of it were told again
-- after less was used.
ALTER TABLE limit_uses ADD COLUMN peak INTEGER NOT NULL DEFAULT 0;
ALTER TABLE limit_uses ADD COLUMN retold INTEGER NOT NULL DEFAULT 0;
