-- expand: programs that know version 1 go on. The PostgreSQL twin of this file differs in types only.

-- How many seats billing said last that an organization's plan has, in its events (incarnation: of billing's store) or when
-- it was asked (0 where no event told of it). NULL: not known any more. version counts the changes to the row, so that an
-- answer is not written over what was told while it was on its way.
CREATE TABLE organization_seats (
    organization_id TEXT    NOT NULL PRIMARY KEY,
    seats           INTEGER,
    incarnation     INTEGER NOT NULL,
    version         INTEGER NOT NULL CHECK (version >= 1)
) STRICT, WITHOUT ROWID;
