-- The reconciliation: stock built from the change stream equals the stock that the ledger itself reports, to
-- the unit, in both directions. The history may go on after the changes that the ledger's report includes.
-- Those later changes are subtracted first. A cell that is missing on one side counts as empty there, so it
-- fails exactly when the other side has units in it.
with positions as (

    select
        shard,
        max(change_seq) as change_seq
    from {{ ref('stg_ledger_stock') }}
    group by shard

),

later as (

    select
        movements.cell_id,
        {%- for bucket in buckets() %}
        sum(movements.{{ bucket }}_delta) as {{ bucket }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ ref('fct_stock_movements') }} as movements
    inner join positions on movements.shard = positions.shard
    where movements.seq > positions.change_seq
    group by movements.cell_id

),

built as (

    select
        stock.cell_id,
        {%- for bucket in buckets() %}
        stock.{{ bucket }} - coalesce(later.{{ bucket }}, 0) as {{ bucket }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ ref('stock_current') }} as stock
    left join later on stock.cell_id = later.cell_id

)

select
    coalesce(built.cell_id, ledger.cell_id) as cell_id,
    {%- for bucket in buckets() %}
    built.{{ bucket }} as built_{{ bucket }},
    ledger.{{ bucket }} as ledger_{{ bucket }}{{ ',' if not loop.last }}
    {%- endfor %}
from built
full outer join {{ ref('stg_ledger_stock') }} as ledger on built.cell_id = ledger.cell_id
where
    {%- for bucket in buckets() %}
    {{ 'or ' if not loop.first }}coalesce(built.{{ bucket }}, 0) <> coalesce(ledger.{{ bucket }}, 0)
    {%- endfor %}
