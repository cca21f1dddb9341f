{{ config(meta={'advice': 'a file brings other content for changes that are loaded already; `holdfast archive verify` says which file is right: remove the wrong one, and build once with --full-refresh'}) }}

-- A change that is loaded never comes again with another content. So a wrong value that was loaded is found
-- when the right file arrives. Read are the files of this run, and the loaded changes with the same numbers.
{%- set repeated = [] %}
{%- if execute %}
    {%- set ranges %}
        select shard, min(seq), max(seq)
        from {{ archived_changes() }} as archived
        where {{ is_between_zero_and('loaded_from') }} and {{ is_newly_landed() }}
        group by shard
    {%- endset %}
    {%- for row in run_query(ranges).rows %}
        {%- do repeated.append('(shard = ' ~ row[0] ~ ' and seq between ' ~ row[1] ~ ' and ' ~ row[2] ~ ')') %}
    {%- endfor %}
{%- endif %}
{%- set is_repeated = repeated | join(' or ') if repeated else 'false' %}
with again as (

    select
        {{ typed_change() }}
    from {{ archived_changes() }} as archived
    where ({{ is_repeated }}) and {{ is_between_zero_and('loaded_from') }} and {{ is_newly_landed() }}

),

others as (

    select * from again
    except
    select
        {%- for column in change_columns() %}
        {{ column }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ ref('stg_changes') }}
    where {{ is_repeated }}

)

select
    others.shard,
    others.seq,
    archived.file_name
from others
inner join {{ archived_changes() }} as archived on others.shard = archived.shard and others.seq = archived.seq
