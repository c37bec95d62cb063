-- What people show of themselves, in plain text: it is public by their own wish. Erasure takes all of it away and leaves the
-- row, so that what comes late is not shown.

create table profiles_v1 (
    account_id   uuid primary key,
    display_name text,
    bio          text,
    -- What the picture's files are called.
    avatar       text,
    is_erased    boolean not null,
    updated_at   timestamptz not null,
    version      bigint not null,
    position     bigint not null
);
