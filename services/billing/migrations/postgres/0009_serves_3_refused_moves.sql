-- expand: programs that know version 3 go on. The SQLite twin of this file differs in types only.

-- Organizations to which no subscription moves any more, because there was none to move. What a repetition needs for as
-- long as there may be one, when the answers to requests are forgotten: by whom and under which id it was asked, what was
-- asked, what was answered.
CREATE TABLE refused_moves (
    owner        TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    request      BYTEA NOT NULL CHECK (length(request) = 16),
    request_hash BYTEA NOT NULL CHECK (length(request_hash) = 32),
    first_answer BYTEA NOT NULL,
    refused_at   BIGINT NOT NULL
);
CREATE INDEX refused_moves_by_age ON refused_moves (refused_at);
