-- When whoever has the session last showed again that they know the password; null for not since it was opened.
alter table log.sessions add column proved_at timestamptz;
