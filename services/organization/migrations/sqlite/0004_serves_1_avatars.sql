-- Pictures of organizations, drawn anew from what was sent, one row for each size (pixels either way).
CREATE TABLE avatars (
    organization_id TEXT NOT NULL REFERENCES organizations (id),
    size            INTEGER NOT NULL CHECK (size > 0),
    media_type      TEXT NOT NULL,
    etag            TEXT NOT NULL,
    content         BLOB NOT NULL,
    PRIMARY KEY (organization_id, size)
) STRICT;
