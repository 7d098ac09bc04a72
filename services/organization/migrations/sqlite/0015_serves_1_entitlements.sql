-- expand: programs that know version 1 go on. The PostgreSQL twin of this file differs in types only.

-- What billing said with the seats: the plan, and what that allows besides (names, a space between two; NULL: not told).
-- plan_version: the change of the row by which this is known. Programs that know only the seats write these alone: where
-- version has gone on without it, the plan is not known any more.
ALTER TABLE organization_seats ADD COLUMN plan_id TEXT;
ALTER TABLE organization_seats ADD COLUMN features TEXT;
ALTER TABLE organization_seats ADD COLUMN plan_version INTEGER NOT NULL DEFAULT 0;
