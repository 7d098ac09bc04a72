-- expand: programs that know version 1 go on. The PostgreSQL twin of this file differs in types and in how it says the check.

-- Which departure organization has let go, and in which incarnation of this store: while both are the last, nobody takes it back,
-- and what the account has is being deleted. A store that was restored since asks anew.
--
-- Nobody stays who was let go, and is half deleted: a program of before, which knows nothing of it, is refused what it would do.
ALTER TABLE users ADD COLUMN let_go INTEGER
    CONSTRAINT users_let_go CHECK (let_go IS NULL OR let_go <> departures OR leaving_since IS NOT NULL);
ALTER TABLE users ADD COLUMN let_go_in INTEGER;
