-- expand: programs that know version 3 go on. The PostgreSQL twin of this file differs in types and in how triggers are written.

-- Who was an organization's owner and is it no more, until a program has ended what their payment methods serve for: programs
-- that do not know of `serves_until` hear of it, too, and end nothing. Owners and users as in `members`.
CREATE TABLE former_owners (
    owner   BLOB NOT NULL CHECK (length(owner) = 17),
    user_id BLOB NOT NULL CHECK (length(user_id) = 16),
    PRIMARY KEY (owner, user_id)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER members_former_owner AFTER UPDATE OF role ON members
    WHEN OLD.role = 'OWNER' AND NEW.role IS NOT 'OWNER'
BEGIN
    INSERT INTO former_owners (owner, user_id) SELECT NEW.owner, NEW.user_id
    WHERE NOT EXISTS (SELECT 1 FROM former_owners AS f WHERE f.owner = NEW.owner AND f.user_id = NEW.user_id);
END;
