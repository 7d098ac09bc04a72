-- expand: programs that know version 1 go on. The PostgreSQL twin of this file differs in types and triggers only.

-- How long the audit log is kept is a setting, of a day at least. Append-only but for that: retention may take what is a day
-- older than the newest row, whatever a clock says.
DROP TRIGGER audit_is_kept;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
WHEN OLD.at > (SELECT max(at) FROM audit) - 86400000000
BEGIN
    SELECT RAISE(ABORT, 'audit is append-only');
END;

-- Nobody looks for an owner's rows by their ids: organization, which lists them, has an index of its own for that.
DROP INDEX audit_by_owner;
