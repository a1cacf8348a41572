-- A stand-in for the views of Redshift's catalog that transload asks, with the columns that its developer guide
-- documents. What they say comes from PostgreSQL's own catalog; where Redshift has a type that PostgreSQL has not, another
-- one plays it (`json` is SUPER, `bytea` is VARBYTE). It shows that our statements are valid, ask only for
-- documented columns, and are read as they are meant. It does not show that Redshift answers like this.
CREATE OR REPLACE VIEW svv_tables AS
   SELECT current_database()::varchar AS table_catalog, n.nspname::varchar AS table_schema,
      c.relname::varchar AS table_name,
      CASE c.relkind WHEN 'r' THEN 'BASE TABLE' WHEN 'f' THEN 'EXTERNAL TABLE' ELSE 'VIEW' END::varchar AS table_type,
      obj_description(c.oid, 'pg_class')::varchar AS remarks
   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'v', 'f') AND n.nspname NOT LIKE 'pg\_toast%';

CREATE OR REPLACE VIEW svv_columns AS
   SELECT c.table_catalog::varchar, c.table_schema::varchar, c.table_name::varchar, c.column_name::varchar,
      c.ordinal_position::int, c.column_default::varchar, c.is_nullable::varchar,
      CASE c.data_type WHEN 'json' THEN 'super' WHEN 'bytea' THEN 'binary varying' ELSE c.data_type END::varchar
         AS data_type,
      c.character_maximum_length::int, c.numeric_precision::int, c.numeric_precision_radix::int, c.numeric_scale::int,
      c.datetime_precision::int, c.interval_type::varchar, c.interval_precision::varchar,
      c.character_set_catalog::varchar, c.character_set_schema::varchar, c.character_set_name::varchar,
      c.collation_catalog::varchar, c.collation_schema::varchar, c.collation_name::varchar, c.domain_name::varchar,
      col_description(format('%I.%I', c.table_schema, c.table_name)::regclass, c.ordinal_position)::varchar AS remarks
   FROM information_schema.columns c;

-- The comment of a column says where it stands in the sort key, which PostgreSQL has not.
CREATE OR REPLACE VIEW svv_redshift_columns AS
   SELECT table_catalog AS database_name, table_schema AS schema_name, table_name, column_name, ordinal_position,
      data_type, column_default, is_nullable, 'none'::varchar AS encoding, false AS distkey,
      coalesce(substring(remarks FROM 'sortkey (-?\d+)')::int, 0) AS sortkey, NULL::varchar AS column_acl, remarks
   FROM svv_columns;

-- It has no line for empty tables.
CREATE OR REPLACE VIEW svv_table_info AS
   SELECT current_database()::text AS database, n.nspname::text AS schema, c.oid AS table_id, c.relname::text AS "table",
      'N'::text AS encoded, 'EVEN'::text AS diststyle, NULL::text AS sortkey1, 0 AS max_varchar,
      NULL::char(32) AS sortkey1_enc, 0 AS sortkey_num, 3::bigint AS size, 0::numeric(10,4) AS pct_used,
      0::bigint AS empty, 0::numeric(5,2) AS unsorted, 0::numeric(5,2) AS stats_off,
      c.reltuples::numeric(38,0) AS tbl_rows, NULL::numeric(19,2) AS skew_sortkey1, NULL::numeric(19,2) AS skew_rows,
      NULL::numeric(38,0) AS estimated_visible_rows, NULL::text AS risk_event, NULL::numeric(12,2) AS vacuum_sort_benefit,
      NULL::timestamp AS create_time
   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND c.reltuples > 0;
REVOKE ALL ON svv_table_info FROM PUBLIC;
GRANT SELECT ON svv_tables, svv_columns, svv_redshift_columns TO PUBLIC;
GRANT USAGE ON SCHEMA public TO PUBLIC;
