-- A stream of sound alone has no picture: then all four are null.

alter table streams_v1 alter column video_codec drop not null;
alter table streams_v1 alter column video_width drop not null;
alter table streams_v1 alter column video_height drop not null;
alter table streams_v1 alter column video_frame_rate drop not null;
