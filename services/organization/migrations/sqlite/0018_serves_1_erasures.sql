-- expand: programs that know version 1 go on; they look for no erasures, so what is erased is seen there until it is gone.
-- The PostgreSQL twin of this file differs in types only.

-- What was deleted and is too much to be erased at once: an item (itm_…) with everything under it, or everything that belongs to
-- a project (prj_…). From this row on all of that is gone for everybody. A job erases it in portions, and the row with the last.
CREATE TABLE erasures (
    owner TEXT NOT NULL REFERENCES libraries (owner),
    root  TEXT NOT NULL,
    PRIMARY KEY (owner, root)
) STRICT, WITHOUT ROWID;
