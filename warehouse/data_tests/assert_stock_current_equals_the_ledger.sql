{{ config(tags=['ledger']) }}

-- The reconciliation: stock built from the change stream equals the stock that the ledger itself reports, to
-- the unit, in both directions. The history may go on after the changes that the ledger's report includes.
-- Those later changes are subtracted first. A cell that is missing on one side counts as empty there, so it
-- fails exactly when the other side has units in it. A shard whose history does not reach the list cannot be
-- compared; assert_history_reaches_the_ledger names it.
with reached as (

    select listed.shard
    from {{ ref('stg_ledger_stock') }} as listed
    inner join {{ positions_relation() }} as loaded on listed.shard = loaded.shard
    group by listed.shard, loaded.load_through
    having max(listed.change_seq) <= loaded.load_through

),

listed as (

    select *
    from {{ ref('stg_ledger_stock') }}
    where
        shard in (select shard from reached)
        -- A shard without any change has no cells.
        or shard not in (select shard from {{ positions_relation() }})

),

later as (

    select
        cell_id,
        {%- for bucket in buckets() %}
        sum({{ bucket }}_delta) as {{ bucket }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ beside_listed(ref('fct_stock_movements'), '>') }} as movements
    group by cell_id

),

built as (

    select
        stock.cell_id,
        {%- for bucket in buckets() %}
        stock.{{ bucket }} - coalesce(later.{{ bucket }}, 0) as {{ bucket }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ ref('stock_current') }} as stock
    left join later on stock.cell_id = later.cell_id
    where stock.shard in (select shard from reached)

)

select
    coalesce(built.cell_id, ledger.cell_id) as cell_id,
    {%- for bucket in buckets() %}
    built.{{ bucket }} as built_{{ bucket }},
    ledger.{{ bucket }} as ledger_{{ bucket }}{{ ',' if not loop.last }}
    {%- endfor %}
from built
full outer join listed as ledger on built.cell_id = ledger.cell_id
where
    {%- for bucket in buckets() %}
    {{ 'or ' if not loop.first }}coalesce(built.{{ bucket }}, 0) <> coalesce(ledger.{{ bucket }}, 0)
    {%- endfor %}
