-- One account with one lot, for pgbench.
INSERT INTO accounts (owner, seq, head_hash, available, held, period_start, period_end, period_spent, last_at, next_due, opened_at)
VALUES ('org_00000000000000000000000001', 1, decode(repeat('00', 32), 'hex'), 900000000000000000, 0, 0, 9000000000000000, 0, 0, NULL, 0);
INSERT INTO lots (owner, id, number, source, priority, granted, remaining, held, spent, expired, voided, effective_at, expires_at, voided_at, note, live)
VALUES ('org_00000000000000000000000001', 'lot_00000000000000000000000001', 1, 'PROMOTION', 0, 900000000000000000, 900000000000000000,
        0, 0, 0, 0, 0, NULL, NULL, NULL, true);
