-- Makes :n people whose month is over, in billing's own tables, of which the programs hear a day later (the caller moves
-- `period_end` back by that day): each has a pack, what is left of the month's
-- allowance, and what was paid for it with its invoice. Every one of their months ends at the same instant, as at the turn of
-- a month. Their ledgers are no ledgers to be verified: the bodies are only as long as real ones.
\set ON_ERROR_STOP on
CREATE FUNCTION pg_temp.uint(value BIGINT) RETURNS BYTEA LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    out BYTEA := '';
BEGIN
    WHILE value >= 128 LOOP
        out := out || set_byte('\x00', 0, ((value & 127) | 128)::int);
        value := value >> 7;
    END LOOP;
    RETURN out || set_byte('\x00', 0, value::int);
END $$;
CREATE FUNCTION pg_temp.id(head TEXT, value BIGINT) RETURNS TEXT LANGUAGE sql IMMUTABLE AS $$
    SELECT head || repeat('0', 14) || string_agg(substr('0123456789abcdefghjkmnpqrstvwxyz', ((value >> (5 * place)) & 31)::int + 1, 1), '' ORDER BY place DESC)
    FROM generate_series(0, 11) AS place
$$;
CREATE FUNCTION pg_temp.bytes(value BIGINT) RETURNS BYTEA LANGUAGE sql IMMUTABLE AS $$
    SELECT decode(lpad(to_hex(value), 32, '0'), 'hex')
$$;
CREATE FUNCTION pg_temp.micros(at TIMESTAMPTZ) RETURNS BIGINT LANGUAGE sql IMMUTABLE AS $$
    SELECT (extract(epoch FROM at) * 1000000)::bigint
$$;

CREATE TEMPORARY TABLE month AS
SELECT pg_temp.micros(starts) AS starts, pg_temp.micros(ends) AS ends, extract(year FROM starts)::bigint AS year
FROM (SELECT ends - interval '1 month' AS starts, ends FROM (SELECT date_trunc('second', now()) AS ends) AS e) AS m;
CREATE TEMPORARY TABLE people AS
SELECT i, ('x' || substr(md5(i::text), 1, 12))::bit(48)::bigint AS key FROM generate_series(1, :n) AS i;
CREATE TEMPORARY TABLE rows AS
SELECT i, key, pg_temp.id('usr_', key) AS owner, '\x01'::bytea || pg_temp.bytes(key) AS owner_bytes, pg_temp.id('sub_', key) AS subscription,
       pg_temp.id('pay_', key) AS payment, pg_temp.id('inv_', key) AS invoice, pg_temp.bytes(key) AS id_bytes, m.*
FROM people, month AS m;

INSERT INTO accounts (owner, seq, head_hash, last_at, available, held, debt, open_holds, terms, charged, period_anchor, period_number, period_spent,
                      renews_at, next_due, opened_at)
-- That nothing is due keeps the sweeper away: the renewal expires what is left, as it does at the turn of a month.
SELECT owner_bytes, 3, decode(repeat('00', 32), 'hex'), starts, 1300000000, 0, 0, 0, 0, 500000000, starts, 0, 500000000, ends, NULL, starts FROM rows;
INSERT INTO lots (owner, number, id, terms, granted, remaining, held, spent, expired, voided, note, live)
SELECT owner_bytes, 1, md5('pack' || key)::uuid, '\x0102000000'::bytea || pg_temp.uint(starts * 2) || '\x000000000000', 300000000, 300000000, 0, 0, 0, 0, 'starter', true
FROM rows
UNION ALL
SELECT owner_bytes, 2, md5('month' || key)::uuid,
       '\x0101000000'::bytea || pg_temp.uint(starts * 2) || '\x01' || pg_temp.uint(ends * 2) || '\x00' || '\x01' || id_bytes || '\x00' || '\x01' || id_bytes || '\x00'
       || '\x01' || convert_to('USD', 'UTF8') || pg_temp.uint(200000000),
       1500000000, 1000000000, 0, 500000000, 0, 0, 'business', true
FROM rows;
INSERT INTO ledger_entries (owner, seq, at, request_key, body, hash)
SELECT owner_bytes, seq, starts, md5(seq || ':' || key)::uuid, decode(repeat(md5(key::text), 5), 'hex'), decode(repeat(md5(seq || key::text), 2), 'hex')
FROM rows, generate_series(1, 3) AS seq;
INSERT INTO subscriptions (owner, id, plan_id, state, credits, seats, currency, price, payment_method, payment_reference, started_at, period_number, period_start, period_end, included, included_plan)
SELECT owner, subscription, 'business', 'ACTIVE', 1500000000, 10, 'USD', 100000000, 'sandbox_ok', payment, starts, 0, starts, ends + 86400000000,
       '{"organizations":true,"single_sign_on":false}', 'business' FROM rows;
INSERT INTO payments (id, owner, purpose, state, thing, attempt, currency, amount, method, reference, product, credits, seats, subscription_id, fulfilled_at, started_by, created_at, invoice_id)
SELECT payment, owner, 'SUBSCRIPTION', 'PAID', decode(md5(payment), 'hex'), 1, 'USD', 100000000, 'sandbox_ok', 'sandbox_' || payment, 'business', 1500000000, 10, subscription, starts,
       owner, starts, invoice
FROM rows;
INSERT INTO invoice_accounts (owner, prefix, documents) SELECT owner, upper(substr(owner, 19)), 1 FROM rows;
INSERT INTO invoice_series (owner, kind, year, last) SELECT owner, 'INVOICE', year, 1 FROM rows;
INSERT INTO invoices (owner, id, kind, number, position, payment_id, currency, total, issued_at, body, profile)
SELECT owner, invoice, 'INVOICE', upper(substr(owner, 19)) || '-' || year || '-0001', 1, payment, 'USD', 100000000, starts, '{}', '{}' FROM rows;
