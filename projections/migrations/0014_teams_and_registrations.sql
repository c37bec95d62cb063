-- Who has which role in a channel. Whoever has none any more keeps a row without one, so that an event that comes twice changes
-- nothing.
create table teams_v1 (
    channel_id uuid not null,
    account_id uuid not null,
    -- moderator or editor; null once it was taken.
    role       text,
    given_at   timestamptz not null,
    position   bigint not null,
    primary key (channel_id, account_id)
);
create index teams_v1_account on teams_v1 (account_id) where role is not null;

-- Links by which accounts can be made. One that was taken back keeps its row.
create table registration_invites_v1 (
    id         uuid primary key,
    max_uses   bigint not null,
    uses       bigint not null,
    expires_at timestamptz,
    created_at timestamptz not null,
    revoked_at timestamptz,
    position   bigint not null
);
create index registration_invites_v1_newest on registration_invites_v1 (created_at desc, id desc) where revoked_at is null;
