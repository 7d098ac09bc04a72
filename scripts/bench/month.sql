-- One renewal as a careful engineer writes it by hand: one transaction a month, no tax, no hash chain, no rules.
SELECT nextval('next_due') AS n \gset
BEGIN;
UPDATE subscriptions SET period_number = period_number + 1, period_start = period_end, period_end = period_end + 2592000000000
WHERE owner = 'usr_' || :n AND period_number = 0;
INSERT INTO payments (id, owner, state, thing, attempt, amount, reference, created_at)
VALUES ('pay_' || md5(random()::text), 'usr_' || :n, 'PAID', decode(md5('usr_' || :n || ':1'), 'hex'), 1, 100000000, 'sandbox_' || md5(random()::text), 0);
SELECT seq + 1 AS seq, available FROM accounts WHERE owner = 'usr_' || :n FOR UPDATE \gset
UPDATE lots SET expired = expired + remaining, remaining = 0, live = false WHERE owner = 'usr_' || :n AND number = 2;
INSERT INTO lots (owner, number, granted, remaining, expired, live) VALUES ('usr_' || :n, :seq, 1500000000, 1500000000, 0, true);
INSERT INTO ledger_entries (owner, seq, at, body, hash)
VALUES ('usr_' || :n, :seq, 0, decode(repeat(md5('x'), 9), 'hex'), decode(repeat(md5('y'), 2), 'hex')),
       ('usr_' || :n, :seq + 1, 0, decode(repeat(md5('x'), 5), 'hex'), decode(repeat(md5('z'), 2), 'hex'));
UPDATE accounts SET seq = :seq + 1, available = 1800000000 WHERE owner = 'usr_' || :n;
INSERT INTO invoices (owner, id, number, payment_id, total, body) VALUES ('usr_' || :n, 'inv_' || md5(random()::text), 'P-2026-0002', 'pay', 100000000, repeat('x', 300));
COMMIT;
