-- expand: programs that know version 1 go on. The SQLite twin of this file differs in types and triggers only.

-- How long the audit log is kept is a setting, of a day at least. Append-only but for that: retention may take what is a day
-- older than the newest row, whatever a clock says. Emptying the table at once goes around row triggers.
CREATE OR REPLACE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND OLD.at <= (SELECT max(at) FROM audit) - 86400000000 THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'audit is append-only';
END $$;
CREATE TRIGGER audit_is_not_emptied BEFORE TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();

-- Nobody looks for an owner's rows by their ids: organization, which lists them, has an index of its own for that.
DROP INDEX audit_by_owner;
