-- Copies of the log that somebody asked for.
create table exports_v1 (
    id             uuid primary key,
    -- Null: the operator's command line.
    requested_by   uuid,
    way            text not null,
    format         text not null,
    filter         jsonb not null,
    -- requested, completed, failed or deleted.
    state          text not null,
    event_count    bigint,
    size_bytes     bigint,
    failure        text,
    created_at     timestamptz not null,
    completed_at   timestamptz,
    expires_at     timestamptz,
    updated_at     timestamptz not null,
    version        bigint not null,
    position       bigint not null
);
create index exports_v1_newest on exports_v1 (created_at desc, id desc);
create index exports_v1_requester on exports_v1 (requested_by, created_at desc, id desc);
create index exports_v1_expiring on exports_v1 (expires_at) where state = 'completed';
