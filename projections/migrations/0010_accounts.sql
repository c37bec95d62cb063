-- What people see of how they sign in. What is personal stays sealed under the key of its account, so that these rows hold
-- nothing more than the log does. What has ended keeps a row without anything in it, so that an event about it that comes
-- late is told from one about something that never was.

create table sessions_v1 (
    id         uuid primary key,
    account_id uuid not null,
    user_agent jsonb,
    address    jsonb,
    opened_at  timestamptz not null,
    ended_at   timestamptz,
    position   bigint not null
);
create index sessions_v1_open on sessions_v1 (account_id, opened_at desc) where ended_at is null;

create table personal_tokens_v1 (
    id         uuid primary key,
    account_id uuid not null,
    name       jsonb,
    scopes     text[] not null,
    expires_at timestamptz not null,
    created_at timestamptz not null,
    revoked_at timestamptz,
    position   bigint not null
);
create index personal_tokens_v1_good on personal_tokens_v1 (account_id, created_at desc) where revoked_at is null;

-- Nobody had one before this was an event, so the rows are right without being made anew.
alter table accounts_v1 add column has_second_factor boolean not null default false;
