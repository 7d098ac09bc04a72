-- expand: programs that know version 1 go on. The SQLite twin of this file is the same.

-- The few of all users that operators list by state, in the order of their ids.
CREATE INDEX users_unproven ON users (id) WHERE email_verified_at IS NULL;
CREATE INDEX users_leaving ON users (id) WHERE leaving_since IS NOT NULL;
