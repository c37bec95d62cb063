-- What happened to the safety of accounts, as their owners and administrators see it. Where somebody was stays sealed, so
-- that it is forgotten with the log: when its time is over, and with the account.
create table security_events_v1 (
    id         uuid primary key,
    account_id uuid not null,
    -- The type of the event.
    kind       text not null,
    at         timestamptz not null,
    -- Who did it, where that is not the account itself.
    by_id      uuid,
    -- A word that says why, or what was wrong.
    reason     text,
    -- How often, or how many are left.
    count      bigint,
    channel_id uuid,
    user_agent jsonb,
    address    jsonb,
    position   bigint not null
);
create index security_events_v1_account on security_events_v1 (account_id, at desc, id desc);
create index security_events_v1_newest on security_events_v1 (at desc, id desc);
create index security_events_v1_kind on security_events_v1 (kind, at desc, id desc);
