{# The columns of an archived change with their types, in the order of crates/changes/src/parquet/schema.rs. #}
{% macro change_columns() %}
    {%- set columns = {'shard': 'integer', 'seq': 'bigint', 'entry_changes': 'integer', 'entry_offset': 'integer',
        'log_index': 'bigint', 'log_time': 'time', 'kind': 'varchar', 'sku': 'varchar', 'warehouse': 'varchar',
        'storefront': 'varchar'} -%}
    {%- for bucket in buckets() -%}
        {%- do columns.update({bucket ~ '_delta': 'units', bucket ~ '_after': 'bigint'}) -%}
    {%- endfor -%}
    {%- do columns.update({'reservation_id': 'varchar', 'line': 'integer', 'reservation_state': 'varchar',
        'expires_at': 'time', 'requested': 'bigint', 'quantity': 'bigint', 'policy_may_borrow': 'boolean',
        'policy_max_per_reservation': 'bigint', 'operation_id': 'varchar', 'principal': 'varchar',
        'reason': 'varchar', 'reference': 'varchar', 'home': 'integer', 'sourcing': 'varchar',
        'policy_backorder_limit': 'bigint', 'policy_preorder_limit': 'bigint', 'policy_preorder_until': 'time',
        'transfer_id': 'varchar', 'transfer_from': 'varchar', 'transfer_to': 'varchar',
        'transfer_expected_at': 'time', 'transfer_quantity': 'bigint', 'transfer_in_transit': 'bigint',
        'supply_id': 'varchar', 'supply_quantity': 'bigint', 'supply_expected_at': 'time', 'occurred_at': 'time'}) -%}
    {{ return(columns) }}
{% endmacro %}

{# The columns of an archived change in their types. A file that is older than a bucket has no delta for it, which
   means that the bucket did not move. #}
{% macro typed_change() -%}
    {%- for column, type in change_columns().items() %}
        {% if type == 'time' -%}
        {{ utc_timestamp(column) }}
        {%- elif type == 'units' -%}
        cast(coalesce({{ column }}, 0) as bigint)
        {%- else -%}
        cast({{ column }} as {{ type }})
        {%- endif %} as {{ column }}{{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{# The archived changes that this run reads, with `file_name`. #}
{% macro archived_changes() -%}
    {{ adapter.dispatch('archived_changes')() }}
{%- endmacro %}

{# The input files as a literal list. The empty half gives the columns that are in no file, when all of them are
   older than a column. hive_partitioning is off because `shard` is a column of the files. #}
{% macro default__archived_changes() -%}
    {%- set paths = [] -%}
    {%- if execute -%}
        {%- for row in run_query('select path from ' ~ input_files() ~ ' order by path').rows -%}
            {%- do paths.append("'" ~ row[0] | replace("'", "''") ~ "'") -%}
        {%- endfor -%}
    {%- endif -%}
    (
        {%- if paths %}
        select *
        from read_parquet(
            [{{ paths | join(', ') }}],
            hive_partitioning = false, union_by_name = true, filename = 'file_name'
        )
        union all by name
        {%- endif %}
        select
            {%- for column, type in change_columns().items() %}
            cast(null as {{ {'time': 'timestamptz', 'units': 'bigint'}.get(type, type) }}) as {{ column }},
            {%- endfor %}
            cast(null as varchar) as file_name
        where false
    )
{%- endmacro %}

{% macro snowflake__archived_changes() -%}
    {{ source('holdfast', 'changes') }}
{%- endmacro %}

{# True if the same change may be in the input more than once. #}
{% macro may_repeat() %}
    {{ return(adapter.dispatch('may_repeat')()) }}
{% endmacro %}

{% macro default__may_repeat() %}
    {%- set overlaps = 'select count(*) from (select first_seq <= lag(last_seq) over (partition by shard order by first_seq, last_seq) as repeats from '
        ~ input_files() ~ ') as files where repeats' -%}
    {{ return(execute and run_query(overlaps).rows[0][0] > 0) }}
{% endmacro %}

{% macro snowflake__may_repeat() %}
    {{ return(true) }}
{% endmacro %}

{% macro input_files() -%}
    {{ return(api.Relation.create(database=target.database, schema='load', identifier='input_files')) }}
{%- endmacro %}

{# DuckDB: warehouse/inputs.py writes the list of files before dbt starts. The tables are made here too, for a
   database in which it has not run. #}
{% macro create_input_files() %}
    {{ return(adapter.dispatch('create_input_files')()) }}
{% endmacro %}

{% macro default__create_input_files() %}
    {% set columns = '(path varchar, version varchar, shard integer, first_seq bigint, last_seq bigint' %}
    {% do run_query('create table if not exists ' ~ input_files() ~ columns ~ ')') %}
    {% do run_query('create table if not exists ' ~ input_files().incorporate(path={'identifier': 'loaded_files'}) ~ columns ~ ', loaded_at timestamp)') %}
{% endmacro %}

{% macro snowflake__create_input_files() %}
{% endmacro %}

{# Writes down the input files whose last change is loaded and tested. The next build does not read them. #}
{% macro record_loaded_files() %}
    {{ return(adapter.dispatch('record_loaded_files')()) }}
{% endmacro %}

{% macro default__record_loaded_files() %}
    {% set loaded_files = input_files().incorporate(path={'identifier': 'loaded_files'}) %}
    {% set record %}
        insert into {{ loaded_files }}
        select files.path, files.version, files.shard, files.first_seq, files.last_seq, positions.taken_at
        from {{ input_files() }} as files
        inner join {{ positions_relation() }} as positions on files.shard = positions.shard
        where
            files.last_seq <= positions.tested_through
            and not exists (select 1 from {{ loaded_files }} as known where known.path = files.path and known.version = files.version)
    {% endset %}
    {% do run_query(record) %}
{% endmacro %}

{% macro snowflake__record_loaded_files() %}
{% endmacro %}

{# The query for the last change up to which the input has every change of a shard from 1 on. #}
{% macro covered_query() %}
    {{ return(adapter.dispatch('covered_query')()) }}
{% endmacro %}

{% macro default__covered_query() %}
    {% set query %}
        with files as (
            select shard, first_seq, last_seq, coalesce(max(last_seq) over (
                partition by shard order by first_seq, last_seq rows between unbounded preceding and 1 preceding
            ), 0) as before_it
            from {{ input_files() }}
        ),
        gaps as (select shard, min(before_it) as last_seq from files where first_seq > before_it + 1 group by shard)
        select files.shard, coalesce(max(gaps.last_seq), max(files.last_seq))
        from files
        left join gaps on files.shard = gaps.shard
        group by files.shard
    {% endset %}
    {{ return(query) }}
{% endmacro %}

{% macro snowflake__covered_query() %}
    {% set query %}
        with ranked as (
            select shard, seq, dense_rank() over (partition by shard order by seq) as place
            from {{ source('holdfast', 'changes') }}
        )
        select shard, max(case when seq = place then seq else 0 end) from ranked group by shard
    {% endset %}
    {{ return(query) }}
{% endmacro %}

{# A condition that is true for changes that were loaded before this run. #}
{% macro is_between_zero_and(last) -%}
    (
        {%- for position in positions() %}
        (shard = {{ position.shard }} and seq <= {{ position[last] }}) or
        {%- endfor %}
        false
    )
{%- endmacro %}

{# A condition on archived changes: those that have landed since every test passed. On DuckDB the input has no
   other files. On Snowflake the landing table has all rows, and the hour allows for clocks that differ. #}
{% macro is_newly_landed() -%}
    {{ adapter.dispatch('is_newly_landed')() }}
{%- endmacro %}

{% macro default__is_newly_landed() -%}
    true
{%- endmacro %}

{% macro snowflake__is_newly_landed() -%}
    loaded_at >= coalesce((select dateadd('hour', -1, max(tested_at)) from {{ positions_relation() }}), cast('1970-01-01' as timestamp_ntz))
{%- endmacro %}

{# The file that brought the last loaded change of each shard, and when: `shard`, `file_name`, `loaded_at`. #}
{% macro newest_files() -%}
    {{ adapter.dispatch('newest_files')() }}
{%- endmacro %}

{% macro default__newest_files() -%}
    {%- set loaded_files = input_files().incorporate(path={'identifier': 'loaded_files'}) -%}
    (
        select
            positions.shard,
            max(files.path) as file_name,
            min(files.loaded_at) as loaded_at
        from {{ positions_relation() }} as positions
        inner join (
            select path, shard, first_seq, last_seq, loaded_at from {{ loaded_files }}
            union all
            select path, shard, first_seq, last_seq, null from {{ input_files() }}
        ) as files
            on
                positions.shard = files.shard
                and positions.load_through between files.first_seq and files.last_seq
        group by positions.shard
    )
{%- endmacro %}

{% macro snowflake__newest_files() -%}
    (
        select
            shard,
            max(file_name) as file_name,
            min(loaded_at) as loaded_at
        from {{ source('holdfast', 'changes') }}
        where
            {%- for position in positions() %}
            (shard = {{ position.shard }} and seq = {{ position.load_through }}) or
            {%- endfor %}
            false
        group by shard
    )
{%- endmacro %}
