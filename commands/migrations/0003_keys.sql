-- What rotation of the master key and erasure of people need.

-- Which master key a row is sealed under, by its id; null on rows of before, which any known key may open.
alter table log.keys add column sealed_under text;
alter table log.vault add column sealed_under text;

create index sessions_account on log.sessions (account_id);

-- What an account owns and has asked for, to be taken away with it. By regular expressions because they fail for nothing
-- that the column takes; a quote within a text is escaped, so that nothing a person writes looks like a member.
create index events_of_owners
    on log.events (substring(payload::text from '"owner_id": *"([0-9a-f-]{36})"')) where event_type = 'channel.created';
create index events_of_askers
    on log.events (substring(payload::text from '"by": *"([0-9a-f-]{36})"')) where event_type = 'export.requested';
