-- The read side. Everything here can be rebuilt from log.events. It runs with `search_path` set to its schema, so that
-- the same tables can be made in another one and swapped in.
--
-- Every row of a read model keeps the `position` of the last event folded into it; an event at or below it changes
-- nothing, which is what makes applying twice harmless.

-- How far each projection has come. Rows and checkpoint commit together.
create table checkpoints (
    projection text primary key,
    position   bigint not null default 0 check (position >= 0),
    updated_at timestamptz not null default now()
);

-- Events that a projection could not apply. A row with neither `resolved_at` nor `is_skipped` is where one stands still.
create table failed_events (
    projection      text not null,
    position        bigint not null,
    event_type      text not null,
    aggregate_id    text not null,
    error           text not null,
    attempts        bigint not null,
    is_skipped      boolean not null,
    first_failed_at timestamptz not null default now(),
    last_failed_at  timestamptz not null default now(),
    resolved_at     timestamptz,
    primary key (projection, position)
);

create table accounts_v1 (
    id               uuid primary key,
    -- Null once the person was erased, like the address.
    username         text,
    email            text,
    is_administrator boolean not null,
    created_at       timestamptz not null,
    updated_at       timestamptz not null,
    version          bigint not null,
    position         bigint not null
);
-- Not unique: names are made unique by the log's reservations, and a read model never decides.
create index accounts_v1_username on accounts_v1 (username);

create table channels_v1 (
    id             uuid primary key,
    owner_id       uuid not null,
    handle         text not null,
    title          text not null,
    description    text not null,
    live_stream_id uuid,
    created_at     timestamptz not null,
    updated_at     timestamptz not null,
    version        bigint not null,
    position       bigint not null
);
create index channels_v1_handle on channels_v1 (handle);
create index channels_v1_newest on channels_v1 (created_at desc, id desc);
create index channels_v1_live on channels_v1 (created_at desc, id desc) where live_stream_id is not null;
create index channels_v1_owner on channels_v1 (owner_id, created_at desc, id desc);

create table streams_v1 (
    id                uuid primary key,
    channel_id        uuid not null,
    node_id           uuid not null,
    title             text not null,
    video_codec       text not null,
    video_width       bigint not null,
    video_height      bigint not null,
    video_frame_rate  double precision not null,
    audio_codec       text,
    audio_sample_rate bigint,
    audio_channels    smallint,
    started_at        timestamptz not null,
    ended_at          timestamptz,
    end_reason        text,
    duration_ms       bigint,
    updated_at        timestamptz not null,
    version           bigint not null,
    position          bigint not null
);
create index streams_v1_newest on streams_v1 (started_at desc, id desc);
create index streams_v1_live on streams_v1 (started_at desc, id desc) where ended_at is null;
create index streams_v1_channel on streams_v1 (channel_id, started_at desc, id desc);

-- What a stream shows of its channel: one row to change with the channel, not one in each of its streams.
create table streams_v1_channels (
    id       uuid primary key,
    handle   text not null,
    title    text not null,
    position bigint not null
);
