-- Which accounts are suspended, or were. What is personal stays sealed under the key of its account. Whether a suspension holds
-- is a matter of the time at which it is asked: nothing happens when it is over.
create table suspensions_v1 (
    account_id    uuid primary key,
    -- Null: Weir itself.
    suspended_by  uuid,
    reason        jsonb not null,
    suspended_at  timestamptz not null,
    -- Null: not before it is lifted.
    until         timestamptz,
    reinstated_at timestamptz,
    position      bigint not null
);

-- What was reported, and what was decided.
create table reports_v1 (
    id          uuid primary key,
    account_id  uuid not null,
    target_kind text not null,
    target_id   uuid not null,
    owner_id    uuid not null,
    kind        text not null,
    text        jsonb not null,
    at_ms       bigint,
    -- open, dismissed or upheld.
    state       text not null,
    action      text,
    answer      jsonb,
    decided_by  uuid,
    filed_at    timestamptz not null,
    decided_at  timestamptz,
    position    bigint not null
);
create index reports_v1_newest on reports_v1 (filed_at desc, id desc);
create index reports_v1_state on reports_v1 (state, filed_at desc, id desc);
create index reports_v1_account on reports_v1 (account_id, filed_at desc, id desc);
