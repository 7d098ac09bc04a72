-- expand: programs that know version 1 go on. The SQLite twin of this file is the same.

-- Members of one role in the order they joined: the few Admins of many are found without the others.
CREATE INDEX memberships_of_role ON memberships (organization_id, role, joined_at, user_id) WHERE role IS NOT NULL;
