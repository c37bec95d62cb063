-- What erased people, closed channels and encoders that tell their name need of the read models. A closed channel keeps a
-- row, so that an event about it that comes late is told from one about a channel that never was; it has nothing in it
-- that was its owner's.

alter table channels_v1 add column closed_at timestamptz;

alter table streams_v1_channels add column is_closed boolean not null default false;

alter table streams_v1 add column encoder text;
