-- expand: programs that know version 1 go on. The PostgreSQL twin of this file is the same.

-- Whose address nobody has proven, in the order in which these accounts end: those that were to and stayed stand behind.
CREATE INDEX users_perishing ON users (departures, created_at) WHERE email_verified_at IS NULL AND leaving_since IS NULL;
