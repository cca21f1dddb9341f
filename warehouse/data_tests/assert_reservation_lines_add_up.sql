-- Each granted unit of a line is in exactly one place, and no place has a negative number. An aborted part
-- has nothing left.
select *
from {{ after(ref('int_reservation_lines'), 'tested_through', 'last_seq') }} as new_rows
where
    granted <> held + committed + shipped + released + expired + cancelled
    or granted < case when state = 'aborted' then 0 else 1 end
    or (state = 'aborted' and granted > 0)
    or granted > requested
    or returned > shipped
    {%- for units in ['held', 'committed', 'shipped', 'released', 'expired', 'cancelled', 'returned'] %}
    or {{ units }} < 0
    {%- endfor %}
    -- A line has nothing left if its state says so.
    or (state not in ('prepared', 'held') and held > 0)
    or (state in ('shipped', 'returned', 'released', 'expired', 'cancelled') and committed > 0)
