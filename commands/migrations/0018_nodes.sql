-- The nodes that take streams in, and when each was last heard of: by the clock of Postgres, so that none of theirs counts. Whoever is
-- stopped in order takes its row away.
create table log.nodes (
    node_id uuid primary key,
    -- Where other nodes find its streams, if it says.
    address text,
    since timestamptz not null default clock_timestamp(),
    heard_at timestamptz not null default clock_timestamp()
) with (fillfactor = 50);
