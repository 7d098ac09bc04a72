-- expand: programs that know version 3 go on. The SQLite twin of this file differs in types and in how triggers are written.

-- Who was an organization's owner and is it no more, until a program has ended what their payment methods serve for: programs
-- that do not know of `serves_until` hear of it, too, and end nothing. Owners and users as in `members`.
CREATE TABLE former_owners (
    owner   BYTEA NOT NULL CHECK (length(owner) = 17),
    user_id BYTEA NOT NULL CHECK (length(user_id) = 16),
    PRIMARY KEY (owner, user_id)
);

CREATE FUNCTION members_former_owner() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO former_owners (owner, user_id) VALUES (NEW.owner, NEW.user_id) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER members_former_owner AFTER UPDATE OF role ON members
    FOR EACH ROW WHEN (OLD.role = 'OWNER' AND NEW.role IS DISTINCT FROM 'OWNER')
    EXECUTE FUNCTION members_former_owner();
