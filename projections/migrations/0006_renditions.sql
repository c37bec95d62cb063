-- The sizes of a stream's picture that there are beside the source: an array of objects with name, width, height and
-- bitrate_kbps, the highest first; and why these. A stream that never had any has an empty array and no reason.

alter table streams_v1 add column renditions jsonb not null default '[]';
alter table streams_v1 add column renditions_reason text;
