-- Streams that are kept for later watching. A deleted one keeps a row, so that an event about it that comes late is told from
-- one about a recording that never was; it has no title.
create table recordings_v1 (
    id                  uuid primary key,
    stream_id           uuid not null,
    channel_id          uuid not null,
    node_id             uuid not null,
    title               text not null,
    -- published, unlisted or archived.
    visibility          text not null,
    is_download_allowed boolean not null,
    -- recording, published, failed or deleted.
    state               text not null,
    duration_ms         bigint,
    size_bytes          bigint,
    renditions          jsonb not null,
    gap_count           bigint not null,
    cut_short           text,
    failure             text,
    started_at          timestamptz not null,
    published_at        timestamptz,
    updated_at          timestamptz not null,
    version             bigint not null,
    position            bigint not null
);
create index recordings_v1_channel on recordings_v1 (channel_id, started_at desc, id desc);
create index recordings_v1_published on recordings_v1 (channel_id, started_at desc, id desc)
    where state = 'published' and visibility = 'published';
create index recordings_v1_stream on recordings_v1 (stream_id);

-- What a recording shows of its channel, and what the channel's owner has said of recordings.
create table recordings_v1_channels (
    id             uuid primary key,
    owner_id       uuid not null,
    handle         text not null,
    title          text not null,
    visibility     text not null,
    is_closed      boolean not null,
    is_on          boolean not null,
    keep_days      bigint,
    max_size_bytes bigint,
    max_count      bigint,
    position       bigint not null
);
