-- How far each process has followed the log. What it did for an event was done before its position came here.
create table log.processes (
    name text primary key,
    position bigint not null check (position >= 0),
    updated_at timestamptz not null default now()
);

-- Exports that are to be written. A row goes when its export is completed, failed or deleted.
create table log.export_jobs (
    export_id uuid primary key,
    -- Who writes it, if anybody; worth nothing once `beat_at` is old.
    worker uuid,
    beat_at timestamptz,
    attempts integer not null default 0,
    events_done bigint not null default 0,
    events_total bigint,
    -- How far in the log it is.
    position bigint not null default 0,
    created_at timestamptz not null default now()
);
