-- expand: programs that know version 1 go on. The SQLite twin of this file is the same.

-- Whose address an invitation has is asked when an account is deleted, of each organization that has one, under its lock.
CREATE INDEX invitations_email ON invitations (email_key);
CREATE INDEX invitations_accepted ON invitations (accepted_by) WHERE accepted_by IS NOT NULL;
CREATE INDEX memberships_person ON memberships (user_id) WHERE email_key <> '';
