-- expand: programs that know version 1 go on. The SQLite twin of this file is the same.

-- Whose a job is, whoever it is for: a keyed print of the organization or the person with whom it ends. An invoice's mail may
-- be for an address that nobody else knows. NULL: nobody's, or enqueued by who knows version 1. One index has what waits and
-- what was given up.
ALTER TABLE jobs ADD COLUMN owner TEXT;
CREATE INDEX jobs_owner ON jobs (kind, owner) WHERE owner IS NOT NULL;
