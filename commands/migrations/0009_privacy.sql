-- What goes on beside the log when people are to be forgotten, ask for what is kept of them, or cannot sign in.

-- Accounts that are to be erased, and when. What the log says, as the process that carries it out has followed it.
create table log.due_erasures (
    account_id uuid primary key,
    due_at timestamptz not null
);

create index due_erasures_due on log.due_erasures (due_at);

-- Files of what is kept of a person, being made (`expires_at` is null) or there. A row goes with its file.
create table log.personal_exports (
    export_id uuid primary key,
    account_id uuid not null,
    -- Who writes it, if anybody; worth nothing once `beat_at` is old.
    worker uuid,
    beat_at timestamptz,
    attempts integer not null default 0,
    -- The part that is written, from 0 to 1.
    fraction double precision not null default 0,
    expires_at timestamptz,
    created_at timestamptz not null default now()
);

create index personal_exports_waiting on log.personal_exports (created_at) where expires_at is null;
create index personal_exports_expiring on log.personal_exports (expires_at) where expires_at is not null;

-- Sign-ins that failed in the present hour of an account, to be told together when it is over.
create table log.failed_sign_ins (
    account_id uuid not null,
    failure text not null,
    -- Beyond the first, which was told at once.
    count bigint not null default 0,
    first_at timestamptz not null,
    last_at timestamptz not null,
    -- Of the last one, sealed.
    user_agent json not null,
    address json not null,
    primary key (account_id, failure)
);

create index failed_sign_ins_oldest on log.failed_sign_ins (first_at);
