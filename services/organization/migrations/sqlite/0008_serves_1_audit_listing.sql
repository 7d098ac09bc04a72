-- expand: programs that know version 1 go on. The PostgreSQL twin of this file differs in types only.

-- The audit log is a shared table (shared/db/migrations); only organization lists it: an owner's rows in the order of time.
CREATE INDEX audit_listed ON audit (owner, at, id);
