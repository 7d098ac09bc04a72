-- expand: programs that know version 1 go on. The SQLite twin of this file differs in types only.

-- How often somebody signed up with the address before it was proven.
ALTER TABLE users ADD COLUMN sign_ups BIGINT NOT NULL DEFAULT 1 CHECK (sign_ups >= 1);
CREATE INDEX users_unverified ON users (created_at) WHERE email_verified_at IS NULL;

-- What the sign-up that was mailed this token asked for: following the link makes it the account's. A token that a
-- program of version 1 mailed has neither.
ALTER TABLE email_verifications ADD COLUMN password_hash TEXT COLLATE "C";
ALTER TABLE email_verifications ADD COLUMN display_name TEXT COLLATE "C";

-- context is whom the branch acts for; a token of a program of version 1 acts for its session's.
-- left_at is set when its client moved on to another branch: from then on the branch ends when it is not used for a day.
ALTER TABLE refresh_tokens ADD COLUMN context TEXT COLLATE "C";
ALTER TABLE refresh_tokens ADD COLUMN left_at BIGINT;

-- From where an account was signed in to: wrong passwords from elsewhere do not refuse the right one from there. place is
-- a digest of the address and the origin.
CREATE TABLE sign_in_places (
    user_id TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    place   BYTEA  NOT NULL CHECK (length(place) = 16),
    last_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, place)
);
CREATE INDEX sign_in_places_last ON sign_in_places (last_at);
