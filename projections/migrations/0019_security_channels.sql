-- Whose channels are: that a stream key was replaced does not say whose it is. Those of before are taken from where they are known.
create table security_channels_v1 (
    channel_id uuid primary key,
    owner_id   uuid not null,
    position   bigint not null
);
insert into security_channels_v1 (channel_id, owner_id, position) select id, owner_id, position from channels_v1;
