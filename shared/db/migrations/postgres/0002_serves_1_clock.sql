-- expand: programs that know version 1 go on. The SQLite twin of this file differs in types only.

-- The latest time at which the store was used, by the clock of the program that did: no program decides by a clock that is
-- behind it. What was written before this table was made is told by the newest event.
CREATE TABLE clock (
    one        BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
    used_until BIGINT NOT NULL
);
INSERT INTO clock (one, used_until) SELECT 1, coalesce(max(created_at), 0) FROM outbox;
