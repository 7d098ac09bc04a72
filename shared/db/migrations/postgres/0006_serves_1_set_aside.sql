-- expand: programs that know version 1 go on. The SQLite twin of this file is the same.

-- Once a second each follower looks at what is set aside of its source, the oldest first; where there is more than it looks at,
-- also by type. Whoever knows version 1 finds what it looks for by these, too.
CREATE INDEX events_set_aside_source ON events_set_aside (source, set_aside_at, id);
CREATE INDEX events_set_aside_type ON events_set_aside (source, type, set_aside_at, id);

-- What an owner's later event makes up for. SQLite took none that did not end with the type, and read all of the source.
CREATE INDEX events_set_aside_owner_type ON events_set_aside (source, owner, type);
DROP INDEX events_set_aside_owner;
