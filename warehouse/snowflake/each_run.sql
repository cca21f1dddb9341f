-- Snowflake: what is done before each build, as holdfast_loader, after `holdfast stock list --format csv` has
-- written ledger_stock.csv into the bucket and the export has gone on after it. Then dbt builds.
use role holdfast_loader;
use warehouse holdfast_build;

-- The files that could not be loaded, with the first error of each. There must be none.
select
    file_name,
    first_error_message,
    first_error_line_number,
    last_load_time
from table(holdfast.information_schema.copy_history(
    table_name => 'holdfast.raw.ledger_changes', start_time => dateadd('day', -14, current_timestamp())
))
where status <> 'Loaded';

-- The new list of the ledger's stock takes the place of the old one at once. If it cannot be read, the old
-- one stays.
truncate table holdfast.raw.ledger_stock_next;

copy into holdfast.raw.ledger_stock_next
from @holdfast.raw.archive/ledger_stock.csv
file_format = (format_name = 'holdfast.raw.csv_files')
on_error = abort_statement
force = true;

begin transaction;

delete from holdfast.raw.ledger_stock;

insert into holdfast.raw.ledger_stock
select * from holdfast.raw.ledger_stock_next;

commit;
