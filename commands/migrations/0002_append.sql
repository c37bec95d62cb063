-- Appends that record when in an order that never runs backwards, and that know which requests were carried out.

-- When the last append was, by the greatest clock there was.
alter table log.head add column recorded_at timestamptz not null default '-infinity';

update log.head set recorded_at = event.recorded_at
    from (select max(recorded_at) as recorded_at from (
        select recorded_at from log.events order by position desc limit 1000) latest) event
    where event.recorded_at is not null;

-- The requests that came with a key of the client's and were carried out, so that a repeat is answered and not carried
-- out again. A row is written in the transaction of the events.
create table log.commands (
    actor text not null,
    key text not null,
    -- A keyed digest of what was asked.
    request_hash bytea not null,
    command_id uuid not null,
    aggregate_id text not null,
    -- Of the last event.
    position bigint not null,
    -- What was answered, encrypted under the master key; null until it was, and for answers that are secret.
    response bytea,
    recorded_at timestamptz not null,
    expires_at timestamptz not null,
    primary key (actor, key)
);

create index commands_expiring on log.commands (expires_at);

-- Appends the events of many commands in one transaction of one round trip. Events, claims and the clients' keys come as
-- columns; each names its command by a number, ascending. A command is stored whole or not at all, and one that cannot be
-- stored does not keep the others from it:
-- `repeated` are the commands whose key another command has used,
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
    payloads json[],
    metadatas json[],
    claim_commands integer[],
    claim_takes boolean[],
    claim_kinds text[],
    claim_names text[],
    claim_holders text[],
    key_commands integer[],
    -- The place of the command's last event, from 1.
    key_events bigint[],
    key_actors text[],
    keys text[],
    key_hashes bytea[],
    key_command_ids uuid[],
    key_aggregate_ids text[],
    key_seconds double precision,
    out first_position bigint,
    out repeated integer[],
    out conflicts integer[],
    out held integer[]
) language plpgsql as $$
declare
    taken_at timestamptz;
    row_total bigint;
    refused integer[];
    claimant record;
    wanted record;
    blocked integer;
begin
    repeated := '{}';
    conflicts := '{}';
    held := '{}';
    -- The time is taken under the lock, so that times follow positions, and a clock that is set back does not show.
    update log.head
        set position = position + cardinality(commands), recorded_at = greatest(clock_timestamp(), recorded_at)
        returning position - cardinality(commands) + 1, recorded_at into strict first_position, taken_at;

    -- Nearly always everything fits, and what is given back is nothing that another command of the batch wants.
    if cardinality(claim_names) = 0 or not exists (
        select from unnest(claim_takes, claim_kinds, claim_names) as release(takes, kind, name)
            join unnest(claim_takes, claim_kinds, claim_names) as take(takes, kind, name)
                on take.kind = release.kind and take.name = release.name
            where take.takes and not release.takes
    ) then
        begin
            -- Functions in the list go in step, row by row; as a table, unnest would first be written out as one, which
            -- costs a quarter of the whole.
            insert into log.events (position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload,
                    metadata, recorded_at)
                select generate_series(first_position, first_position + cardinality(commands) - 1),
                        unnest(aggregate_types), unnest(aggregate_ids), unnest(sequences), unnest(event_types),
                        unnest(event_versions), unnest(payloads), unnest(metadatas), taken_at;
            if cardinality(claim_names) > 0 then
                delete from log.reservations reservation
                    using unnest(claim_takes, claim_kinds, claim_names, claim_holders) as claim(takes, kind, name, holder)
                    where not claim.takes and reservation.kind = claim.kind and reservation.name = claim.name
                        and reservation.aggregate_id = claim.holder;
                insert into log.reservations (kind, name, aggregate_id)
                    select claim.kind, claim.name, claim.holder
                        from unnest(claim_takes, claim_kinds, claim_names, claim_holders)
                            as claim(takes, kind, name, holder)
                        where claim.takes
                    on conflict do nothing;
                get diagnostics row_total = row_count;
                if row_total <> cardinality(array_positions(claim_takes, true)) then
                    raise sqlstate 'WR001';
                end if;
            end if;
            if cardinality(keys) > 0 then
                insert into log.commands as stored (actor, key, request_hash, command_id, aggregate_id, position,
                        recorded_at, expires_at)
                    select used.actor, used.key, used.request_hash, used.command_id, used.aggregate_id,
                            first_position + used.event - 1, taken_at, taken_at + make_interval(secs => key_seconds)
                        from unnest(key_events, key_actors, keys, key_hashes, key_command_ids, key_aggregate_ids)
                            as used(event, actor, key, request_hash, command_id, aggregate_id)
                    on conflict (actor, key) do update
                        set request_hash = excluded.request_hash, command_id = excluded.command_id,
                            aggregate_id = excluded.aggregate_id, position = excluded.position, response = null,
                            recorded_at = excluded.recorded_at, expires_at = excluded.expires_at
                        where stored.expires_at <= taken_at;
                get diagnostics row_total = row_count;
                if row_total <> cardinality(keys) then
                    raise sqlstate 'WR001';
                end if;
            end if;
            perform pg_notify('weir_log', (first_position + cardinality(commands) - 1)::text);
            return;
        -- A key that comes twice in the batch is a cardinality violation.
        exception when unique_violation or cardinality_violation or sqlstate 'WR001' then
            null;
        end;
    end if;

    -- The lock on the head keeps every other append out, so what is checked here still holds when it is stored.
    delete from log.commands expired
        using unnest(key_actors, keys) as used(actor, key)
        where expired.actor = used.actor and expired.key = used.key and expired.expires_at <= taken_at;
    repeated := array(
        select used.command
            from (
                select used.*, row_number() over (partition by used.actor, used.key order by used.command) > 1 as is_late
                    from unnest(key_commands, key_actors, keys) as used(command, actor, key)
            ) used
            where used.is_late or exists (
                select from log.commands stored where stored.actor = used.actor and stored.key = used.key
            )
    );
    conflicts := array(
        select candidate.command
            from (
                select distinct on (event.command) event.command, event.aggregate_type, event.aggregate_id, event.sequence,
                        event.command <> min(event.command) over (partition by event.aggregate_type, event.aggregate_id)
                            as is_late
                    from unnest(commands, aggregate_types, aggregate_ids, sequences)
                        as event(command, aggregate_type, aggregate_id, sequence)
                    where event.command <> all (repeated)
                    order by event.command, event.sequence
            ) candidate
            where candidate.is_late or exists (
                select from log.events stored
                    where stored.aggregate_type = candidate.aggregate_type
                        and stored.aggregate_id = candidate.aggregate_id
                        and stored.sequence >= candidate.sequence
            )
    );
    refused := repeated || conflicts;
    for claimant in
        select claim.command, min(claim.ordinality) as first, min(claim.holder) as holder,
                array_agg(claim.takes order by claim.ordinality) as takes,
                array_agg(claim.kind order by claim.ordinality) as kinds,
                array_agg(claim.name order by claim.ordinality) as names
            from unnest(claim_commands, claim_takes, claim_kinds, claim_names, claim_holders) with ordinality
                as claim(command, takes, kind, name, holder, ordinality)
            where claim.command <> all (refused)
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

    insert into log.events (position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload,
            metadata, recorded_at)
        select first_position + row_number() over (order by event.ordinality) - 1, event.aggregate_type,
                event.aggregate_id, event.sequence, event.event_type, event.event_version, event.payload,
                event.metadata, taken_at
            from unnest(commands, aggregate_types, aggregate_ids, sequences, event_types, event_versions, payloads,
                    metadatas) with ordinality
                as event(command, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata,
                    ordinality)
            where event.command <> all (refused);
    get diagnostics row_total = row_count;
    insert into log.commands (actor, key, request_hash, command_id, aggregate_id, position, recorded_at, expires_at)
        select used.actor, used.key, used.request_hash, used.command_id, used.aggregate_id,
                first_position - 1 + (
                    select count(*) from unnest(commands) as event(command)
                        where event.command <= used.command and event.command <> all (refused)
                ),
                taken_at, taken_at + make_interval(secs => key_seconds)
            from unnest(key_commands, key_actors, keys, key_hashes, key_command_ids, key_aggregate_ids)
                as used(command, actor, key, request_hash, command_id, aggregate_id)
            where used.command <> all (refused);
    update log.head set position = first_position + row_total - 1;
    if row_total > 0 then
        perform pg_notify('weir_log', (first_position + row_total - 1)::text);
    end if;
end
$$;

-- The same for one event that neither takes nor gives back a name and came without a key, which is what most appends of a
-- quiet install are: a third of the server's time. Conflicts are unique violations here.
create function log.append_one(
    aggregate_type text,
    aggregate_id text,
    sequence bigint,
    event_type text,
    event_version text,
    payload json,
    metadata json,
    out appended_at bigint
) language plpgsql as $$
declare
    taken_at timestamptz;
begin
    update log.head set position = position + 1, recorded_at = greatest(clock_timestamp(), recorded_at)
        returning position, recorded_at into strict appended_at, taken_at;
    insert into log.events (position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload,
            metadata, recorded_at)
        values (appended_at, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, taken_at);
    perform pg_notify('weir_log', appended_at::text);
end
$$;

-- What processes of the version before call while they are being replaced.
create or replace function log.append(
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
) language sql as $$
    select appended.first_position, appended.conflicts, appended.held
        from log.append(commands, aggregate_types, aggregate_ids, sequences, event_types, event_versions,
            payloads::json[], metadatas::json[], claim_commands, claim_takes, claim_kinds, claim_names, claim_holders, '{}', '{}', '{}', '{}', '{}',
            '{}', '{}', 0) appended;
$$;
