{{ config(materialized='incremental', incremental_strategy='touched', unique_key='cell_pool_id') }}

-- The units in the pool of each storefront, by cell. assert_after_images_follow_from_deltas begins with them.
with new_rows as (

    select
        cell_id || '/' || coalesce(storefront, '') as cell_pool_id,
        cell_id,
        shard,
        storefront,
        pool_delta,
        seq
    from {{ new_changes(ref('fct_stock_movements'), last_seq='last_seq') }} as new_movements
    where pool_delta <> 0

),

pieces as (

    select
        cell_pool_id,
        cell_id,
        shard,
        storefront,
        pool_delta as pool,
        1 as movements,
        seq as last_seq
    from new_rows
    {%- if is_incremental() %}
    union all
    select
        cell_pool_id,
        cell_id,
        shard,
        storefront,
        pool,
        movements,
        last_seq
    from {{ this }}
    where cell_pool_id in (select cell_pool_id from new_rows)
    {%- endif %}

)

select
    cell_pool_id,
    cell_id,
    shard,
    storefront,
    cast(sum(pool) as bigint) as pool,
    cast(sum(movements) as bigint) as movements,
    cast(max(last_seq) as bigint) as last_seq
from pieces
group by cell_pool_id, cell_id, shard, storefront
