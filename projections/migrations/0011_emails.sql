-- Nobody's was before this was an event, so the rows are right without being made anew.
alter table accounts_v1 add column is_email_confirmed boolean not null default false;
