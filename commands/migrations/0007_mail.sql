-- What is mailed: codes that come back, and mails on their way.

-- The last code of an account for each use. Events hold it sealed, for the mail; here is what a code that comes back is held
-- against. The row outlives its code, so that how often one may ask is not forgotten with it.
create table log.mailed_codes (
    account_id uuid not null,
    purpose text not null,
    -- Keyed, of account, use, address and code; null once it was used.
    digest bytea,
    expires_at timestamptz not null,
    failures integer not null default 0,
    asked_at timestamptz not null default now(),
    -- How many were asked for since.
    asked integer not null default 1,
    asked_since timestamptz not null default now(),
    primary key (account_id, purpose)
);

create index mailed_codes_asked on log.mailed_codes (asked_at);

-- Mails that events lead to. A row says nothing of what is in a mail or to whom it goes: that is made of the event when it is sent.
-- It stays for a while after the mail has gone, so that an event that comes again sends nothing.
create table log.mails (
    -- The event that led to it, and which of the mails of that event it is.
    position bigint not null,
    part smallint not null,
    attempts integer not null default 0,
    next_attempt_at timestamptz not null default now(),
    -- Set while somebody sends it; worth nothing once it is over.
    claimed_until timestamptz,
    created_at timestamptz not null default now(),
    settled_at timestamptz,
    -- 'sent', 'refused', 'expired', 'undeliverable' or 'dropped'; null while it waits.
    outcome text,
    -- Why the last attempt failed; no address.
    failure text,
    primary key (position, part),
    check ((settled_at is null) = (outcome is null))
);

create index mails_waiting on log.mails (next_attempt_at) where settled_at is null;
create index mails_settled on log.mails (settled_at) where settled_at is not null;
