{# How far each shard is. A run of dbt fixes its input once, at its start, and writes it down in `positions`:
   one row per shard. Every model and test reads these numbers as literals, so that a database can skip what is
   older, and so that changes that arrive during the run wait for the next one.

   loaded_from      the last change in stg_changes when the run began
   load_through     the last change that this run loads: the end of the last whole entry before the first gap
   arrived_through  the last change in the input, also behind a gap
   built_through    the last change that every model has
   tested_through   the last change that every test has seen and passed
   taken_at         when the input was fixed, UTC
   tested_at        when every test passed for the last time, UTC
   time_zone        the business time zone of everything that is built #}
{% macro positions_relation() -%}
    {{ return(api.Relation.create(database=target.database, schema=generate_schema_name('load', none), identifier='positions')) }}
{%- endmacro %}

{% macro staged_relation() -%}
    {{ return(api.Relation.create(database=target.database, schema=generate_schema_name('staging', none), identifier='stg_changes')) }}
{%- endmacro %}

{# The rows of `positions` as a list of dicts with numbers; empty while dbt parses. #}
{% macro positions() %}
    {%- set found = [] -%}
    {%- if execute -%}
        {%- set columns = ['shard', 'loaded_from', 'load_through', 'arrived_through', 'built_through', 'tested_through'] -%}
        {%- for row in run_query('select ' ~ columns | join(', ') ~ ', cast(tested_at as varchar), time_zone from ' ~ positions_relation() ~ ' order by shard').rows -%}
            {%- set position = {'tested_at': row[6], 'time_zone': row[7]} -%}
            {%- for column in columns -%}
                {%- do position.update({column: row[loop.index0] | int}) -%}
            {%- endfor -%}
            {%- do found.append(position) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(found) }}
{% endmacro %}

{# The rows of a relation after what is built or tested. Each shard has its own branch with literals, so a
   database reads only the end of a table. With the variable `prove`, tests read everything. #}
{% macro after(relation, through, seq='seq', inclusive=false) -%}
    {%- set bounds = positions() -%}
    {%- if bounds | map(attribute=through) | select('gt', 0) | list | length == 0 or (through == 'tested_through' and var('prove')) -%}
    {{ relation }}
    {%- else -%}
    (
        {%- for position in bounds %}
        select * from {{ relation }} where shard = {{ position.shard }} and {{ seq }} {{ '>=' if inclusive else '>' }} {{ position[through] }}
        {%- if not loop.last %} union all{% endif %}
        {%- endfor %}
    )
    {%- endif -%}
{%- endmacro %}

{# True for a test that reads the whole history, because nothing is tested yet or everything has to be proved. #}
{% macro is_whole_history() %}
    {{ return(var('prove') or positions() | map(attribute='tested_through') | select('gt', 0) | list | length == 0) }}
{% endmacro %}

{# A condition that is true from `first` (exclusive) to `last` (inclusive), two columns of `positions`. #}
{% macro is_between(first, last) -%}
    (
        {%- for position in positions() %}
        (shard = {{ position.shard }} and seq > {{ position[first] }} and seq <= {{ position[last] }}) or
        {%- endfor %}
        false
    )
{%- endmacro %}

{# Runs at the start of each dbt command: makes the table, and fixes the input of a run. #}
{% macro fix_input() %}
    {% if execute %}
        {% do run_query('create schema if not exists ' ~ positions_relation().without_identifier()) %}
        {% set create %}
            create table if not exists {{ positions_relation() }} (
                shard integer, loaded_from bigint, load_through bigint, arrived_through bigint, built_through bigint,
                tested_through bigint, taken_at {{ timestamp_type() }},
                tested_at {{ timestamp_type() }}, time_zone varchar
            )
        {% endset %}
        {% do run_query(create) %}
        {% do create_input_files() %}
        {% if flags.WHICH in ('run', 'build') %}
            {% set staged = load_relation(staged_relation()) %}
            {% set refreshed = staged is not none and flags.FULL_REFRESH and 'model.holdfast.stg_changes' in selected_resources %}
            {% if refreshed %}
                {% do check_coverage(staged) %}
            {% endif %}
            {% if staged is not none and not refreshed and not positions() and run_query('select 1 from ' ~ staged ~ ' limit 1').rows | length > 0 %}
                {{ exceptions.raise_compiler_error('the warehouse was built by an older release, which did not write down how far it came: '
                    ~ 'build everything anew once with --full-refresh') }}
            {% endif %}
            {% for position in positions() if staged is not none and not refreshed and position.time_zone != business_time_zone() %}
                {{ exceptions.raise_compiler_error('the warehouse was built with the business time zone ' ~ position.time_zone
                    ~ ', and this run has ' ~ business_time_zone() ~ ': build with the same zone, or everything anew with --full-refresh') }}
            {% endfor %}
            {% if staged is none or refreshed %}
                {% do run_query('delete from ' ~ positions_relation()) %}
            {% endif %}
            {% do take_positions(none if refreshed else staged) %}
        {% endif %}
    {% endif %}
{% endmacro %}

{# Refuses to rebuild a history whose beginning is no longer in the input. Nothing is destroyed that cannot be
   built again. #}
{% macro check_coverage(staged) %}
    {% set covered = {} %}
    {% for row in run_query(covered_query()).rows %}
        {% do covered.update({row[0] | int: row[1] | int}) %}
    {% endfor %}
    {% for row in run_query('select shard, max(seq) from ' ~ staged ~ ' group by shard order by shard').rows %}
        {% if covered.get(row[0] | int, 0) < row[1] | int %}
            {{ exceptions.raise_compiler_error('--full-refresh would lose history: the warehouse has the changes of shard ' ~ row[0]
                ~ ' up to ' ~ row[1] ~ ', and the input has no unbroken run of them after ' ~ covered.get(row[0] | int, 0)
                ~ '; bring back what is missing, or run without --full-refresh') }}
        {% endif %}
    {% endfor %}
{% endmacro %}

{# Finds how far the input reaches, and writes it down. #}
{% macro take_positions(staged) %}
    {% set known = {} %}
    {% for position in positions() %}
        {% do known.update({position.shard: position}) %}
    {% endfor %}
    {% set loaded = {} %}
    {% if staged is not none %}
        {% for row in run_query('select shard, max(seq) from ' ~ after(staged, 'built_through') ~ ' as newest group by shard').rows %}
            {% do loaded.update({row[0] | int: row[1] | int}) %}
        {% endfor %}
        {% for shard, position in known.items() %}
            {% if shard not in loaded %}
                {% do loaded.update({shard: position.built_through}) %}
            {% endif %}
        {% endfor %}
    {% endif %}
    {% set numbers %}
        with arrived as (
            select distinct
                cast(shard as integer) as shard,
                cast(seq as bigint) as seq,
                cast(entry_changes as integer) as entry_changes,
                cast(entry_offset as integer) as entry_offset
            from {{ archived_changes() }} as archived
            where seq > {{ number_of_shard(loaded) }}
        ),
        ranked as (
            select *, seq - dense_rank() over (partition by shard order by seq) as unbroken_from
            from arrived
        )
        select
            shard,
            max(case when unbroken_from = {{ number_of_shard(loaded) }} and entry_offset + 1 = entry_changes then seq end) as load_through,
            max(seq) as arrived_through
        from ranked
        group by shard
    {% endset %}
    {% set arrived = {} %}
    {% for row in run_query(numbers).rows %}
        {% do arrived.update({row[0] | int: row}) %}
    {% endfor %}
    {% set rows = [] %}
    {% for shard in (loaded.keys() | list + arrived.keys() | list) | unique | sort %}
        {% set old = known.get(shard, {}) %}
        {% set through = loaded.get(shard, 0) %}
        {% set load_through = arrived[shard][1] | int if shard in arrived and arrived[shard][1] is not none else through %}
        {% set arrived_through = [arrived[shard][2] | int if shard in arrived else 0, through] | max %}
        {% set tested_at = "cast('" ~ old.tested_at ~ "' as " ~ timestamp_type() ~ ")" if old.get('tested_at') else 'null' %}
        {% do rows.append('(' ~ [shard, through, load_through, arrived_through, [old.get('built_through', 0), through] | min,
            [old.get('tested_through', 0), through] | min, utc_now(), tested_at, "'" ~ business_time_zone() ~ "'"] | join(', ') ~ ')') %}
    {% endfor %}
    {% do run_query('delete from ' ~ positions_relation()) %}
    {% if rows %}
        {% do run_query('insert into ' ~ positions_relation() ~ ' values ' ~ rows | join(', ')) %}
    {% endif %}
{% endmacro %}

{# A number of each shard as an expression over the column `shard`, 0 for a shard without one. #}
{% macro number_of_shard(numbers) -%}
    {%- if numbers -%}
    case shard{% for shard, number in numbers.items() %} when {{ shard }} then {{ number }}{% endfor %} else 0 end
    {%- else -%}
    0
    {%- endif -%}
{%- endmacro %}

{# The time when this command of dbt began, UTC, as a literal. #}
{% macro utc_now() -%}
    cast('{{ run_started_at.strftime("%Y-%m-%d %H:%M:%S.%f") }}' as {{ timestamp_type() }})
{%- endmacro %}

{# Runs at the end of each dbt command. It moves built_through when every model is built, and tested_through when
   every test has passed. A test tagged `prove` reads the whole history and need not run each time. #}
{% macro record_progress(results) %}
    {% if execute and flags.WHICH in ('run', 'build', 'test') %}
        {% set passed = [] %}
        {% for result in results if result.status in ('success', 'pass', 'warn') %}
            {% do passed.append(result.node.unique_id) %}
        {% endfor %}
        {% set unbuilt = [] %}
        {% set untested = [] %}
        {% for node in graph.nodes.values() if node.unique_id not in passed %}
            {% if node.resource_type == 'model' and node.config.materialized == 'incremental' %}
                {% do unbuilt.append(node.unique_id) %}
            {% elif node.resource_type == 'test' and 'prove' not in node.tags and 'ledger' not in node.tags %}
                {% do untested.append(node.unique_id) %}
            {% endif %}
        {% endfor %}
        {% if flags.WHICH in ('run', 'build') and not unbuilt %}
            {% do run_query('update ' ~ positions_relation() ~ ' set built_through = load_through') %}
        {% endif %}
        {% if flags.WHICH in ('test', 'build') and not untested %}
            {% do run_query('update ' ~ positions_relation() ~ ' set tested_through = built_through, tested_at = taken_at where built_through = load_through') %}
            {% do record_loaded_files() %}
        {% endif %}
    {% endif %}
{% endmacro %}
