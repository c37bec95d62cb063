-- Who may watch a channel. Everything that is there was made when there were only public ones, and a change of it is an event
-- of its own: the rows are right without being made anew.

alter table channels_v1 add column visibility text not null default 'public';

alter table streams_v1_channels add column visibility text not null default 'public';
-- Every node reads these when it starts.
create index channels_v1_restricted on channels_v1 (id) where visibility <> 'public';
