-- Which aggregates belong to a channel: the first event of an aggregate names its channel by `channel_id`, before
-- anything nested. One entry for each aggregate, none for what else happens to it, so an append pays next to nothing.
-- By a regular expression because it fails for nothing that the column takes; a quote within a text is escaped, so that
-- nothing a person writes looks like a member.
create index events_of_channels
    on log.events (substring(payload::text from '^\{"[A-Za-z]+":\{[^{}]*"channel_id": *"([0-9a-f-]{36})"'))
    where sequence = 1 and aggregate_type <> 'channel';
