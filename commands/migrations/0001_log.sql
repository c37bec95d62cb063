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

-- Appends the events of many commands in one transaction of one round trip. Events and claims come as columns; both
-- name their command by a number, ascending. A command is stored whole or not at all, and one that cannot be stored does
-- not keep the others from it:
-- `conflicts` are the commands whose aggregate has gone on in between,
-- `held` are the claims (by their place, from 1) for names that another aggregate holds; one for each such command.
-- The others' events have the positions from `first_position`, in the order given.
create function log.append(
    commands integer[],
    aggregate_types text[],
    aggregate_ids text[],
    sequences bigint[],
    event_types text[],
    event_versions text[],
    payloads text[],
    metadatas text[],
    claim_commands integer[],
    claim_takes boolean[],
    claim_kinds text[],
    claim_names text[],
    claim_holders text[],
    out first_position bigint,
    out conflicts integer[],
    out held integer[]
) language plpgsql as $$
declare
    taken_at timestamptz;
    row_total bigint;
    refused integer[] := '{}';
    claimant record;
    wanted record;
    blocked integer;
begin
    conflicts := '{}';
    held := '{}';
    update log.head set position = position + cardinality(commands)
        returning position - cardinality(commands) + 1 into strict first_position;
    -- Taken under the lock, so that times follow positions; now() would be the time before the wait.
    taken_at := clock_timestamp();

    -- Nearly always everything fits, and nobody gives a name back.
    if not (false = any (claim_takes)) then
        begin
            insert into log.events (position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload,
                    metadata, recorded_at)
                select first_position + event.ordinality - 1, event.aggregate_type, event.aggregate_id, event.sequence,
                        event.event_type, event.event_version, event.payload::json, event.metadata::json, taken_at
                    from unnest(aggregate_types, aggregate_ids, sequences, event_types, event_versions, payloads, metadatas)
                        with ordinality as event(aggregate_type, aggregate_id, sequence, event_type, event_version,
                            payload, metadata, ordinality);
            if cardinality(claim_names) > 0 then
                insert into log.reservations (kind, name, aggregate_id)
                    select claim.kind, claim.name, claim.holder
                        from unnest(claim_kinds, claim_names, claim_holders) as claim(kind, name, holder)
                    on conflict do nothing;
                get diagnostics row_total = row_count;
                if row_total <> cardinality(claim_names) then
                    raise sqlstate 'WR001';
                end if;
            end if;
            perform pg_notify('weir_log', (first_position + cardinality(commands) - 1)::text);
            return;
        exception when unique_violation or sqlstate 'WR001' then
            null;
        end;
    end if;

    -- The lock on the head keeps every other append out, so what is checked here still holds when it is stored.
    conflicts := array(
        select candidate.command
            from (
                select distinct on (event.command) event.command, event.aggregate_type, event.aggregate_id, event.sequence,
                        event.command <> min(event.command) over (partition by event.aggregate_type, event.aggregate_id)
                            as is_late
                    from unnest(commands, aggregate_types, aggregate_ids, sequences)
                        as event(command, aggregate_type, aggregate_id, sequence)
                    order by event.command, event.sequence
            ) candidate
            where candidate.is_late or exists (
                select from log.events stored
                    where stored.aggregate_type = candidate.aggregate_type
                        and stored.aggregate_id = candidate.aggregate_id
                        and stored.sequence >= candidate.sequence
            )
    );
    for claimant in
        select claim.command, min(claim.ordinality) as first, min(claim.holder) as holder,
                array_agg(claim.takes order by claim.ordinality) as takes,
                array_agg(claim.kind order by claim.ordinality) as kinds,
                array_agg(claim.name order by claim.ordinality) as names
            from unnest(claim_commands, claim_takes, claim_kinds, claim_names, claim_holders) with ordinality
                as claim(command, takes, kind, name, holder, ordinality)
            where claim.command <> all (conflicts)
            group by claim.command
            order by claim.command
    loop
        select claimant.first + claim.ordinality - 1 into blocked
            from unnest(claimant.takes, claimant.kinds, claimant.names) with ordinality
                as claim(takes, kind, name, ordinality)
            join log.reservations reservation on reservation.kind = claim.kind and reservation.name = claim.name
            where claim.takes and reservation.aggregate_id <> claimant.holder
            order by claim.ordinality
            limit 1;
        if found then
            held := held || blocked;
            refused := refused || claimant.command;
            continue;
        end if;
        for wanted in
            select * from unnest(claimant.takes, claimant.kinds, claimant.names) as claim(takes, kind, name)
        loop
            if wanted.takes then
                insert into log.reservations (kind, name, aggregate_id)
                    values (wanted.kind, wanted.name, claimant.holder) on conflict do nothing;
            else
                delete from log.reservations reservation
                    where reservation.kind = wanted.kind and reservation.name = wanted.name
                        and reservation.aggregate_id = claimant.holder;
            end if;
        end loop;
    end loop;

    refused := refused || conflicts;
    insert into log.events (position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload,
            metadata, recorded_at)
        select first_position + row_number() over (order by event.ordinality) - 1, event.aggregate_type,
                event.aggregate_id, event.sequence, event.event_type, event.event_version, event.payload::json,
                event.metadata::json, taken_at
            from unnest(commands, aggregate_types, aggregate_ids, sequences, event_types, event_versions, payloads,
                    metadatas) with ordinality
                as event(command, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata,
                    ordinality)
            where event.command <> all (refused);
    get diagnostics row_total = row_count;
    update log.head set position = first_position + row_total - 1;
    if row_total > 0 then
        perform pg_notify('weir_log', (first_position + row_total - 1)::text);
    end if;
end
$$;
