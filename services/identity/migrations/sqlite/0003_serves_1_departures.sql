-- expand: programs that know version 1 go on. The PostgreSQL twin of this file differs in types only.

-- Since when the account is about to be deleted, while it is; and how often that has begun.
ALTER TABLE users ADD COLUMN leaving_since INTEGER;
ALTER TABLE users ADD COLUMN departures INTEGER NOT NULL DEFAULT 0 CHECK (departures >= 0);
CREATE INDEX users_stayed ON users (id) WHERE departures > 0;
