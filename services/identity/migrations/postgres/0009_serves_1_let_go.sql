-- expand: programs that know version 1 go on. The SQLite twin of this file differs in types only.

-- Which departure organization has let go, and in which incarnation of this store: while both are the last, nobody takes it back,
-- and what the account has is being deleted. A store that was restored since asks anew.
ALTER TABLE users ADD COLUMN let_go BIGINT;
ALTER TABLE users ADD COLUMN let_go_in BIGINT;
