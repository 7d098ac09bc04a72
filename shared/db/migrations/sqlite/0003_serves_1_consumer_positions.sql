-- expand: programs that know version 1 go on, by their cursor in consumer_cursors. The PostgreSQL twin of this file differs in
-- types only.

-- How far this service has applied another one's events, for each set of types that its programs ask for: during a rolling
-- upgrade those that ask for different types follow side by side. Moves in the transaction that applies an event.
-- source: the other service. types: sorted, a space between two; empty for all. cursor: the source's word for the last event
-- applied, opaque here; empty before the first.
CREATE TABLE consumer_positions (
    source TEXT    NOT NULL,
    types  TEXT    NOT NULL,
    cursor TEXT    NOT NULL,
    PRIMARY KEY (source, types)
) STRICT, WITHOUT ROWID;
