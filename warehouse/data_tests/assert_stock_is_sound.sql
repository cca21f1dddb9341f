-- The ledger's invariants hold for the balances at the end of every day on which a cell moved.
select *
from {{ after(ref('int_stock_days'), 'tested_through', 'last_seq') }} as new_rows
where
    on_hand <> {{ on_hand_by_equation() }}
    {%- for bucket in buckets() %}
    or {{ bucket }} < 0
    {%- endfor %}
    -- Every promised unit is there, unless a recount found it missing or a stock policy allowed it.
    or held + committed > on_hand + deficit + backordered
    -- Missing units were promised, so nothing of the cell is sellable or kept back.
    or (deficit > 0 and free + pool + safety > 0)
    -- Buyers who wait for goods get them before anyone else can buy them.
    or (backordered > 0 and free > 0)
