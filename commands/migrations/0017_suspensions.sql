-- What keeps accounts out and lets them in again, which is little, for every node that shows streams and starts. The words are those
-- of the query.
create index events_of_suspensions on log.events (position)
    where event_type in ('account.suspended', 'account.reinstated');
