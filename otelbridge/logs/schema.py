"""The store's tables, as one file of a segment has them. docs/search.md shows what is seen of them."""

from __future__ import annotations

__all__ = ["END", "FORMAT", "MOVE_TOTAL", "SCHEMA", "SUMMARIES"]

FORMAT = 1

SCHEMA = [
    # How far each spool had been read when the last transaction ended: in the same transaction as its rows.
    "CREATE TABLE cursors (spool TEXT PRIMARY KEY, boot INTEGER, segment INTEGER, offset INTEGER) WITHOUT ROWID",
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
    # Long strings that many rows share are rows of their own.
    "CREATE TABLE workers (number INTEGER PRIMARY KEY, worker_id TEXT NOT NULL UNIQUE)",
    "CREATE INDEX workers_folded ON workers (worker_id COLLATE NOCASE)",
    "CREATE TABLE versions (number INTEGER PRIMARY KEY, version TEXT NOT NULL UNIQUE)",
    # `home` is 0 in a later segment than the one an invocation began in. Ids are 16 or 8 bytes, or text if not hex.
    """CREATE TABLE invocations (
        number INTEGER PRIMARY KEY, id NOT NULL UNIQUE, home INTEGER NOT NULL, worker INTEGER NOT NULL, version INTEGER NOT NULL,
        trace_id NOT NULL, span_id NOT NULL, parent_span_id, start_ns INTEGER NOT NULL, trigger INTEGER NOT NULL,
        method TEXT, origin TEXT, path TEXT, query TEXT, name TEXT,
        end_ns INTEGER, outcome TEXT, status INTEGER, failed INTEGER, cpu_ns INTEGER, wall_ns INTEGER, wall_bucket INTEGER,
        memory_bytes INTEGER, cold INTEGER, detail BLOB)""",
    "CREATE INDEX invocations_trace ON invocations (trace_id)",
    "CREATE INDEX invocations_start ON invocations (start_ns)",
    # `number` is the time in ns, made unique by adding `skew`: rows lie in order of time, and so does the index of words.
    """CREATE TABLE records (
        number INTEGER PRIMARY KEY, skew INTEGER NOT NULL, kind INTEGER NOT NULL, level INTEGER NOT NULL, worker INTEGER,
        invocation INTEGER, sequence INTEGER, span INTEGER NOT NULL, text TEXT NOT NULL, layout TEXT, extra TEXT)""",
    "CREATE INDEX records_invocation ON records (invocation)",
    # Contentless: the text is in records. `tags`: w<worker>, l<level> from warn on, k<kind> of all but log lines, so that
    # one lookup answers "this word, this worker, errors, newest first". A b-tree per worker would cost three times as much
    # to keep, because each batch touches as many of its pages as there are workers.
    "CREATE VIRTUAL TABLE words USING fts5 (text, tags, content = '', columnsize = 0, tokenize = 'ascii')",
    "INSERT INTO words (words, rank) VALUES ('automerge', 16)",
    """CREATE TABLE spans (invocation INTEGER, number INTEGER, parent INTEGER, name TEXT, start_ns INTEGER, end_ns INTEGER,
        attributes TEXT, PRIMARY KEY (invocation, number)) WITHOUT ROWID""",
    """CREATE TABLE diagnostics (invocation INTEGER, sequence INTEGER, time_ns INTEGER, span INTEGER, channel TEXT, message TEXT,
        PRIMARY KEY (invocation, sequence)) WITHOUT ROWID""",
    # The roll-up. Worker 0 is all of them, kept with every batch; the others are counted when the segment is closed,
    # and -1 is no worker.
    """CREATE TABLE volume (worker INTEGER, minute INTEGER, kind INTEGER, level INTEGER, count INTEGER NOT NULL,
        PRIMARY KEY (worker, minute, kind, level)) WITHOUT ROWID""",
    # Names of members of logged objects, for completion.
    "CREATE TABLE names (name TEXT PRIMARY KEY, type TEXT NOT NULL, last_ns INTEGER NOT NULL) WITHOUT ROWID",
    # Per worker and duration (in eighths of a power of two): filled when the segment is closed.
    """CREATE TABLE totals (worker INTEGER, wall_bucket INTEGER, invocations INTEGER, errors INTEGER, last_ns INTEGER,
        PRIMARY KEY (worker, wall_bucket)) WITHOUT ROWID""",
    f"PRAGMA user_version = {FORMAT}",
]

# What is counted once, when nothing more is added to a segment. Kept batch by batch it would cost 5 us per record with
# many workers; counted at the end it costs less than 1.
SUMMARIES = [
    """INSERT OR REPLACE INTO volume SELECT ifnull(worker, -1), (number - skew) / 60000000000, kind, level, count(*) FROM records
        GROUP BY 1, 2, 3, 4""",
    """INSERT OR REPLACE INTO totals SELECT worker, ifnull(wall_bucket, -1), count(*), ifnull(sum(failed), 0), max(ifnull(end_ns, start_ns))
        FROM invocations WHERE home GROUP BY 1, 2""",
    "INSERT OR REPLACE INTO facts VALUES ('summed', 1)",
]

# How an invocation ended; takes Entry.end and the id.
END = (
    "UPDATE invocations SET end_ns = ?, outcome = ?, status = ?, failed = ?, cpu_ns = ?, wall_ns = ?, wall_bucket = ?, "
    "memory_bytes = ?, cold = ?, detail = ? WHERE id = ?"
)

# An invocation that ended after its segment was summed up moves to another row.
MOVE_TOTAL = """INSERT INTO totals VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET invocations = invocations + excluded.invocations,
    errors = errors + excluded.errors, last_ns = max(last_ns, excluded.last_ns)"""
