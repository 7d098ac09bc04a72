-- expand: programs that know version 1 go on. The SQLite twin of this file differs in types only.

-- When invitations were mailed: by one sender (by:usr_…), and to one address over all organizations (to:, and a digest of
-- the address). sent holds instants, eight bytes each, the oldest first; those older than a day are of no use.
CREATE TABLE mail_counts (
    subject TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    sent    BYTEA  NOT NULL,
    last_at BIGINT NOT NULL
);
CREATE INDEX mail_counts_last ON mail_counts (last_at);
