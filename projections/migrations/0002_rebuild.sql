-- How a worker learns that its tables were replaced under it, and that an event at which it stopped is to be tried again.
alter table checkpoints
    -- How often a rebuild has put new tables in the place of the old ones.
    add column generation bigint not null default 0,
    -- How often somebody asked to try again.
    add column retries bigint not null default 0;
