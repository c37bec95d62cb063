-- Wrong codes are counted apart for who signs in and for who is signed in: somebody who knows a password must not keep its owner
-- from changing it. The columns failures and failed_at of log.second_factors are what nodes of before count in.
create table log.code_attempts (
    account_id uuid not null,
    -- 'signing_in' or 'signed_in'.
    who text not null,
    failures integer not null,
    failed_at timestamptz not null,
    primary key (account_id, who)
);

-- However often a session is used, it ends half a year after this.
alter table log.sessions add column opened_at timestamptz not null default now();

-- What is being revoked, which every node looks for.
create index personal_tokens_ending on log.personal_tokens (token_id) where revoke_reason is not null;
