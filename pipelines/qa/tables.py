"""The tables of a round of review, in SQLite or in PostgreSQL."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

#: Raised when an older version of the tool could not read the tables.
SCHEMA_VERSION = 1

metadata = MetaData()

#: Facts of the round: the schema's version, and a random name.
facts = Table("qa_facts", metadata, Column("name", Text, primary_key=True), Column("value", Text))

#: One row an image. `rank` is its place in the queue, `wanted` how many reviewers are to see it
#: (0: not in the present choice), `open` whether it still needs one, `version` which mask it is.
items = Table(
    "qa_items",
    metadata,
    Column("image_id", Text, primary_key=True),
    Column("rank", Integer, nullable=False),
    Column("why", Text, nullable=False),
    Column("audit", Boolean, nullable=False),
    Column("wanted", Integer, nullable=False),
    Column("open", Boolean, nullable=False),
    Column("version", Text, nullable=False),
    Index("qa_items_queue", "open", "rank"),
)

#: Who looks at an image now, and in which of their pages; `until` is in seconds since 1970.
locks = Table(
    "qa_locks",
    metadata,
    Column("image_id", Text, primary_key=True),
    Column("reviewer", Text, nullable=False),
    Column("page", Text, nullable=False),
    Column("until", Float, nullable=False),
)

#: Everything that anybody decided, in order. Rows are never deleted: an undo sets `undone_at`.
#: Masks are as in the cache's encoding `bin1`; `after_mask` is null where it equals `before_mask`
#: or is empty.
decisions = Table(
    "qa_decisions",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("key", Text, nullable=False, unique=True),
    Column("image_id", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("reviewer", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("decided_at", Float, nullable=False),
    Column("seconds", Float),
    Column("undone_at", Float),
    Column("image_sha256", Text, nullable=False),
    Column("height", Integer, nullable=False),
    Column("width", Integer, nullable=False),
    Column("before_revision", Integer, nullable=False),
    Column("before_status", Text, nullable=False),
    Column("before_area", Integer, nullable=False),
    Column("before_box", Text, nullable=False),
    Column("before_sha256", Text, nullable=False),
    Column("before_mask", LargeBinary, nullable=False),
    Column("after_area", Integer, nullable=False),
    Column("after_box", Text, nullable=False),
    Column("after_sha256", Text, nullable=False),
    Column("after_mask", LargeBinary),
    Column("exported_at", Float),
    Column("exported_revision", Integer),
    Index("qa_decisions_image", "image_id"),
    Index("qa_decisions_reviewer", "reviewer", "id"),
)
