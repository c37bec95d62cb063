-- What accounts need beside the log to sign in safely.

-- What changes with each use of a personal token; making and revoking are events.
create table log.personal_tokens (
    token_id uuid primary key,
    account_id uuid not null,
    -- SHA-256 of the token, which has 256 random bits.
    digest bytea not null unique,
    scopes text[] not null,
    expires_at timestamptz not null,
    -- To the hour.
    last_used_at timestamptz,
    -- Set before the event that revokes it, so that it is dead at once.
    revoke_reason text
);

create index personal_tokens_account on log.personal_tokens (account_id);
create index personal_tokens_expiring on log.personal_tokens (expires_at);

-- What keeps a code of an authenticator from being used twice, and guesses few.
create table log.second_factors (
    account_id uuid primary key,
    -- The last step of 30 seconds whose code was taken.
    last_step bigint not null default 0,
    failures integer not null default 0,
    failed_at timestamptz
);

-- Keyed digests of recovery codes that were not used yet.
create table log.recovery_codes (
    account_id uuid not null,
    digest text not null,
    primary key (account_id, digest)
);
