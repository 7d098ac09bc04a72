-- expand: programs that know version 1 go on. The PostgreSQL twin of this file is the same.

-- The tokens that nobody has used yet: one of each branch, or a few. Those before them, which are kept to know a reuse, are
-- thousands in a branch of months, and nobody reads them but by their digests.
CREATE INDEX refresh_tokens_live ON refresh_tokens (session_id, branch) WHERE rotated_at IS NULL;
