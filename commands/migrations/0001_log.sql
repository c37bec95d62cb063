-- The log: what happened, in one total order, and what only the write side may know.

create table log.events (
    position bigint not null unique,
    aggregate_type text not null,
    aggregate_id text not null,
    sequence bigint not null check (sequence >= 0),
    event_type text not null,
    event_version text not null,
    payload json not null,
    metadata json not null,
    recorded_at timestamptz not null default now(),
    -- The optimistic lock: one writer gets a sequence, the other a conflict.
    primary key (aggregate_type, aggregate_id, sequence)
);

comment on table log.events is 'Domain events. The columns of postgres-es, with position and recorded_at.';

create function log.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'events are never changed or deleted' using errcode = 'insufficient_privilege';
end
$$;

-- By statement, so that an append pays nothing for it.
create trigger events_are_kept before update or delete or truncate on log.events
    for each statement execute function log.refuse_change();

-- The last position. Its row lock makes appends commit in the order of their positions; the room in its page keeps the
-- updates within it.
create table log.head (
    only_row boolean primary key default true check (only_row),
    position bigint not null
) with (fillfactor = 10);

insert into log.head (position) values (0);

-- Who holds which unique name. A function of the events, kept in their transaction.
create table log.reservations (
    kind text not null,
    name text not null,
    aggregate_id text not null,
    primary key (kind, name)
);

-- Secrets, encrypted under the master key. Events name them by id.
create table log.vault (
    id uuid primary key,
    kind text not null,
    aggregate_id text not null,
    sealed bytea not null,
    -- SHA-256 of a secret that is looked up by itself.
    lookup bytea unique,
    created_at timestamptz not null default now(),
    -- Whether the sweep has found that its aggregate refers to it.
    is_settled boolean not null default false
);

create index vault_aggregate on log.vault (aggregate_id);
create index vault_unsettled on log.vault (created_at) where not is_settled;

-- The keys of accounts, encrypted under the master key. A destroyed key leaves its row as a tombstone.
create table log.keys (
    account_id uuid primary key,
    wrapped bytea,
    created_at timestamptz not null default now(),
    destroyed_at timestamptz,
    is_settled boolean not null default false,
    check ((wrapped is null) = (destroyed_at is not null))
);

create index keys_unsettled on log.keys (created_at) where not is_settled;

-- What changes with each refresh of a session; opening and ending are events.
create table log.sessions (
    session_id uuid primary key,
    account_id uuid not null,
    salt bytea not null,
    -- Which of the tokens, counted from 0, is the current one.
    generation bigint not null default 0,
    rotated_at timestamptz not null default now(),
    expires_at timestamptz not null,
    -- Set before the event that ends it, so that its tokens are dead at once.
    end_reason text
);

create index sessions_expiring on log.sessions (expires_at);
create index sessions_ending on log.sessions (session_id) where end_reason is not null;

-- Who leads, for work that one process at a time should do.
create table log.lease (
    name text primary key,
    holder text not null,
    expires_at timestamptz not null
);

create table log.settings (
    name text primary key,
    value text not null
);
