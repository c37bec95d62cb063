-- The statements that make tables like the live ones ($1) in another schema ($2), in their order.
with source as (
    select oid, relname, reloptions, relacl, relowner,
           format('%I.%I', $2::text, relname) as target, format('%I.%I', 'read', relname) as origin
    from pg_class where relnamespace = to_regnamespace('read') and relname = any($1::text[]) and relkind = 'r'
),
indexes as (
    select source.*, index.indexrelid, index.indisunique, own.conname, own.oid as constraint_id
    from source join pg_index index on index.indrelid = source.oid
        left join pg_constraint own on own.conindid = index.indexrelid and own.contype in ('p', 'u', 'x')
    where index.indisvalid
)
select step, statement from (
    -- No statement: what `like` takes over, so that a table that was changed is told from what it was.
    select relname, 0 as step, 0::oid as part,
           concat_ws(', ',
               (select string_agg(format('%I %s %s %s %s %s', attname, format_type(atttypid, atttypmod), attnotnull,
                       attidentity, pg_get_expr(adbin, adrelid), col_description(attrelid, attnum)), ', ' order by attnum)
                   from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
                   where attrelid = source.oid and attnum > 0 and not attisdropped),
               (select string_agg(format('%I %s', conname, pg_get_constraintdef(pg_constraint.oid)), ', ' order by conname)
                   from pg_constraint where conrelid = source.oid and contype = 'c')
           ) as statement
    from source
    union all
    select relname, 1, 0, format('create table %s (like %s including all excluding indexes)', target, origin)
    from source
    union all
    select relname, 2, 0, format('alter table %s set (%s)', target, array_to_string(reloptions, ', '))
    from source where reloptions is not null
    union all
    select relname, 3, 0, format('comment on table %s is %L', target, obj_description(oid, 'pg_class'))
    from source where obj_description(oid, 'pg_class') is not null
    union all
    select relname, 4, indexrelid,
           format('alter table %s add constraint %I %s', target, conname, pg_get_constraintdef(constraint_id))
    from indexes where conname is not null
    union all
    -- 5 is early, 6 late.
    select relname, case when indisunique then 5 else 6 end, indexrelid,
           regexp_replace(
               replace(pg_get_indexdef(indexrelid), ' ON ' || origin || ' ', ' ON ' || target || ' '),
               '^(CREATE (UNIQUE )?INDEX) ', '\1 IF NOT EXISTS '
           )
    from indexes where conname is null
    union all
    select relname, 7, indexrelid,
           format('comment on index %I.%I is %L', $2::text, (select name.relname from pg_class name
               where name.oid = indexrelid), obj_description(indexrelid, 'pg_class'))
    from indexes where obj_description(indexrelid, 'pg_class') is not null
    union all
    select relname, 7, constraint_id,
           format('comment on constraint %I on %s is %L', conname, target, obj_description(constraint_id, 'pg_constraint'))
    from indexes where obj_description(constraint_id, 'pg_constraint') is not null
    union all
    select relname, 8, grants.grantee,
           format('grant %s%s on table %s to %s%s', grants.privilege_type, grants.columns, target,
               case when grants.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(grants.grantee)) end,
               case when grants.is_grantable then ' with grant option' else '' end)
    from (
        select source.*, '' as columns, entry.* from source, aclexplode(relacl) entry
        union all
        select source.*, format(' (%I)', attname), entry.*
        from source join pg_attribute on attrelid = source.oid, aclexplode(attacl) entry
    ) grants
    where grants.grantee <> relowner
    union all
    select relname, 9, 0, format('alter table %s owner to %I', target, pg_get_userbyid(relowner))
    from source where pg_get_userbyid(relowner) <> current_user
) statements
order by step, relname, part, statement
