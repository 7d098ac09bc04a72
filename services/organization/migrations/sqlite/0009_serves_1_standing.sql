-- expand: programs that know version 1 go on. The PostgreSQL twin of this file differs in types only.

-- Where an organization is in its life: PENDING, ACTIVE, SUSPENDED, DELETED (until purge_at it can be taken back), PURGING or
-- PURGED. standing_version counts the changes that others are told. After the purge the row stays, without a name, so that
-- its id is never anybody else's; its owner keeps the role in the row that the deferred key demands.
ALTER TABLE organizations ADD COLUMN state TEXT NOT NULL DEFAULT 'ACTIVE';
ALTER TABLE organizations ADD COLUMN standing_version INTEGER NOT NULL DEFAULT 0;
ALTER TABLE organizations ADD COLUMN deleted_at INTEGER;
ALTER TABLE organizations ADD COLUMN purge_at INTEGER;
-- Why an operator suspended it, for operators.
ALTER TABLE organizations ADD COLUMN suspension_reason TEXT NOT NULL DEFAULT '';
CREATE INDEX organizations_state ON organizations (id) WHERE state <> 'ACTIVE';
-- Whose slugs are to be freed: afterwards the slug is the id, which is nobody's slug.
CREATE INDEX organizations_slugs_kept ON organizations (deleted_at) WHERE state = 'PURGED' AND slug <> id;
-- By which operators find them.
CREATE INDEX organizations_name ON organizations (lower(name), id);

-- Since when a slug has been a former one; NULL for the present one, and for those that an older program has left.
ALTER TABLE slugs ADD COLUMN former_since INTEGER;
UPDATE slugs SET former_since = (SELECT o.updated_at FROM organizations o WHERE o.id = slugs.organization_id)
    WHERE slug <> (SELECT o.slug FROM organizations o WHERE o.id = slugs.organization_id);
