-- Links into private channels. One that was taken back keeps its row, so that an event about it that comes late is told from one
-- about an invite that never was.
create table invites_v1 (
    id         uuid primary key,
    channel_id uuid not null,
    expires_at timestamptz,
    created_at timestamptz not null,
    revoked_at timestamptz,
    position   bigint not null
);
create index invites_v1_channel on invites_v1 (channel_id, created_at desc, id desc) where revoked_at is null;
