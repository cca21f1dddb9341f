"""The input set of a build: which archived files it reads. It is fixed once, before dbt starts, in tables of the database.

Every model and test reads these tables and nothing else, so files that arrive during a build wait for the next one. The
tables are in the schema `load`:

  archive_files   every file that the archive has
  input_files     the files that this build reads: those whose rows are not loaded, tested and recorded yet
  loaded_files    the files that an earlier build has loaded; dbt writes it when every test has passed
  positions       how far each shard is; dbt writes it (macros/positions.sql)

A file is named by its manifest entry (docs/archive.md) if the archive has a manifest, or else by its own name.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

TABLES = """
create schema if not exists load;
create table if not exists load.archive_files (entry varchar, path varchar, version varchar, shard integer, first_seq bigint, last_seq bigint);
create table if not exists load.input_files (path varchar, version varchar, shard integer, first_seq bigint, last_seq bigint);
create table if not exists load.loaded_files (path varchar, version varchar, shard integer, first_seq bigint, last_seq bigint, loaded_at timestamp);
create table if not exists load.positions (shard integer, loaded_from bigint, load_through bigint, arrived_through bigint,
    built_through bigint, tested_through bigint, taken_at timestamp, tested_at timestamp, time_zone varchar);
"""

NAME = re.compile(r"(\d{4,})-(\d{20})-(\d{20})(-[0-9a-f]{16})?\.parquet")


class InputError(Exception):
    """The input cannot be read. The message says why and what to do."""


@dataclass(frozen=True)
class ArchivedFile:
    """One file of the archive. `version` changes with its content; `sha256` is known if a manifest names the file."""

    entry: str | None
    path: str
    version: str
    shard: int
    first_seq: int
    last_seq: int
    sha256: str | None = None

    def rows(self):
        return self.last_seq - self.first_seq + 1


def manifest_names(connection, root):
    """Paths of all manifest entries below a root, in their order."""
    return [row[0] for row in connection.execute("select file from glob(?) order by file", [f"{root}/manifest/shard=*/day=*/*.json"]).fetchall()]


def from_manifest(connection, root, names):
    """The files that these manifest entries name."""
    if not names:
        return []
    files = []
    for name, text in connection.execute("select filename, content from read_text(?)", [names]).fetchall():
        try:
            entry = json.loads(text)
            if entry["version"] != 1:
                raise InputError(f"{name} has version {entry['version']}, and this program reads version 1: use a newer one")
            file = ArchivedFile(name, f"{root}/{entry['file']}", entry["sha256"], entry["shard"], entry["first_seq"], entry["last_seq"], entry["sha256"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{name} is not a manifest entry ({error}); `holdfast archive verify` says what is wrong with the archive") from None
        if entry["file"].endswith(".parquet"):
            files.append(file)
    return files


def from_listing(connection, folder):
    """The files below the folder of an archive without a manifest, by their names."""
    if folder.startswith("s3://"):
        rows = connection.execute("select filename, concat(size, '-', epoch_us(last_modified)) from read_blob(?)", [f"{folder}/shard=*/**/*.parquet"]).fetchall()
    else:
        rows = [(str(path), f"{path.stat().st_size}-{path.stat().st_mtime_ns}") for path in sorted(Path(folder).glob("shard=*/**/*.parquet"))]
    files = []
    for path, version in rows:
        match = NAME.fullmatch(path.rsplit("/", 1)[-1])
        if not match:
            raise InputError(f"{path} has no name of an archived file, such as 0000-00000000000000000001-00000000000000004096.parquet: move it away")
        files.append(ArchivedFile(None, path, version, *(int(number) for number in match.groups()[:3])))
    return files


def find(connection, place):
    """All files of the archive at a place: a folder or URL with `changes/` in it, or that folder itself."""
    place = place.rstrip("/")
    roots = [place, place.rsplit("/", 1)[0]] if place.endswith("/changes") else [place]
    for root in roots:
        if names := manifest_names(connection, root):
            known = {row[0]: row[1:] for row in connection.execute(
                "select entry, path, version, shard, first_seq, last_seq from load.archive_files where entry is not null").fetchall()}
            old = [ArchivedFile(name, *known[name], sha256=known[name][1]) for name in names if name in known]
            return old + from_manifest(connection, root, [name for name in names if name not in known])
    for folder in (place, f"{place}/changes"):
        if files := from_listing(connection, folder):
            return files
    raise InputError(f"--changes: {place} has no archived changes: no manifest, and no file like changes/shard=0000/*.parquet; "
                     "run `holdfast changes export` first")


def check_content(connection, file):
    """Compares a file with the hash in its manifest entry. A damaged file can be read without an error and with other values."""
    if file.sha256 is None:
        return
    try:
        if file.path.startswith("s3://"):
            found = connection.execute("select sha256(content) from read_blob(?)", [file.path]).fetchone()[0]
        else:
            with open(file.path, "rb") as content:
                found = hashlib.file_digest(content, "sha256").hexdigest()
    except Exception as error:  # noqa: BLE001 - OSError, or DuckDB's errors for an object store
        raise InputError(f"{file.path} cannot be read, but {file.entry} names it: {error}") from None
    if found != file.sha256:
        raise InputError(f"{file.path} is damaged: its SHA-256 is {found}, and {file.entry} says {file.sha256}; "
                         "bring back the right file (`holdfast archive verify` lists all damaged files)")


def is_built(connection):
    return bool(connection.execute("select 1 from information_schema.tables where table_schema = 'staging' and table_name = 'stg_changes'").fetchall())


def covered_through(files):
    """The last change of each shard up to which these files have every change from 1 on."""
    through = {}
    for file in sorted(files, key=lambda file: (file.shard, file.first_seq)):
        reached = through.setdefault(file.shard, 0)
        if file.first_seq <= reached + 1:
            through[file.shard] = max(reached, file.last_seq)
    return through


def check_coverage(connection, files):
    """Refuses a rebuild when the database has changes that the archive does not have any more."""
    if not is_built(connection):
        return
    covered = covered_through(files)
    for shard, last in connection.execute("select shard, max(seq) from staging.stg_changes group by shard order by shard").fetchall():
        if covered.get(shard, 0) < last:
            raise InputError(f"--full-refresh would lose history: the warehouse has the changes of shard {shard} up to {last}, and the archive has "
                             f"no unbroken run of them after {covered.get(shard, 0)}; bring back the missing files, or build without --full-refresh")


def fix(connection, place, full_refresh=False):
    """Lists the archive and returns the files that a build has to read, with their content checked. With `full_refresh`
    these are all files, and they must reach as far as what is built."""
    connection.execute(TABLES)
    if not is_built(connection):
        connection.execute("delete from load.loaded_files; delete from load.positions")
    files = find(connection, place)
    connection.execute("delete from load.archive_files")
    insert(connection, "archive_files", [(f.entry, f.path, f.version, f.shard, f.first_seq, f.last_seq) for f in files])
    if full_refresh:
        check_coverage(connection, files)
        new = files
    else:
        loaded = set(connection.execute("select path, version from load.loaded_files").fetchall())
        new = [file for file in files if (file.path, file.version) not in loaded]
    for file in new:
        check_content(connection, file)
    return new


def insert(connection, table, rows):
    """Inserts many rows at once; one statement for each row takes minutes."""
    if rows:
        columns = [list(column) for column in zip(*rows)]
        unnested = ", ".join("unnest(?)" for _ in columns)
        connection.execute(f"insert into load.{table} select {unnested}", columns)


def choose(connection, files):
    """Makes these files the input of the next run of dbt."""
    connection.execute("delete from load.input_files")
    insert(connection, "input_files", [(f.path, f.version, f.shard, f.first_seq, f.last_seq) for f in files])


def slices(files, most):
    """Cuts files into runs of about `most` changes. The shards advance together, each by its share."""
    totals = {}
    for file in files:
        totals[file.shard] = max(totals.get(file.shard, 0), file.last_seq)
    pieces, rows = [[]], 0
    for file in sorted(files, key=lambda file: (file.first_seq / totals[file.shard], file.shard)):
        if pieces[-1] and rows + file.rows() > most:
            pieces.append([])
            rows = 0
        pieces[-1].append(file)
        rows += file.rows()
    return pieces
