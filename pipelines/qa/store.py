"""Where a round of review is kept: a SQLite file, or a PostgreSQL database that a group shares."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from lesioncore.errors import LesionError, UsageError, refuse_newer
from lesioncore.files import writing_to
from pipelines.qa.tables import SCHEMA_VERSION, facts, metadata

# Any number: what takes it as an advisory lock are rounds of review in the same database.
_ADVISORY = 760_001
_READ_ONLY = "lesion_read_only"


def database_url(db: str | None, masks: Path) -> str:
    """Return the address of the database that `--db` names; left out, a file beside the cache."""
    if db is not None and "://" in db:
        return db.replace("postgresql://", "postgresql+psycopg://", 1)
    path = Path(db) if db is not None else masks.absolute().with_name(f"{masks.name}.qa.sqlite")
    return f"sqlite:///{path.absolute()}"


class Store:
    """A round's database. Writes happen one after the other, in this process and in others.

    Parameters
    ----------
    url : str
        As `database_url` gives it.
    create : bool
        Make what is not there yet.

    Raises
    ------
    LesionError
        It cannot be opened, is of a newer version, or is not there (without `create`).
    UsageError
        The address means nothing.
    """

    def __init__(self, url: str, *, create: bool = True) -> None:
        self.engine = _engine(url, create)
        self._one_writer = threading.Lock()
        with self._asked("open"):
            self._prepare(create)

    def __str__(self) -> str:
        url = self.engine.url
        return str(url.database) if self.is_file else url.render_as_string(hide_password=True)

    @property
    def is_file(self) -> bool:
        """Whether it is a file of its own, which nobody else can have open over a network."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a connection whose changes are on disk when the block ends, or all undone."""
        with self._one_writer, self._asked("write to"), self.engine.begin() as connection:
            if not self.is_file:
                # So that nobody decides on rows that another server is changing.
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY})"))
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection for questions."""
        with (
            self._asked("read"),
            self.engine.connect().execution_options(**{_READ_ONLY: True}) as connection,
        ):
            yield connection

    def close(self) -> None:
        """Let go of the file or the server."""
        self.engine.dispose()

    def _prepare(self, create: bool) -> None:
        with self.reading() as connection:
            there = inspect(connection).has_table(facts.name)
        if not there and not create:
            raise LesionError(
                f"no decisions in {self}",
                wanted="the database of a round of review",
                mend="lesion qa --masks CACHE --dataset NAME --root DIR",
            )
        with self.writing() as connection:
            metadata.create_all(connection)
            found = {row.name: row.value for row in connection.execute(select(facts))}
            if not found:
                found = {"schema_version": str(SCHEMA_VERSION), "round": secrets.token_hex(6)}
                rows = [{"name": name, "value": value} for name, value in found.items()]
                connection.execute(insert(facts), rows)
        refuse_newer(f"{self} has schema version", found["schema_version"], SCHEMA_VERSION)
        #: Names this round among others that a browser has seen at the same address.
        self.round = found["round"]

    @contextmanager
    def _asked(self, what: str) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise LesionError(
                f"cannot {what} {self}: {str(error.orig).strip()}",
                wanted="a database that answers, with the right to make tables in it",
            ) from error


def _engine(url: str, create: bool) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise UsageError(
                f"the database {parsed.render_as_string()}", wanted="a file or postgresql://..."
            )
        if parsed.get_backend_name() == "postgresql":
            return create_engine(parsed)
    except ArgumentError:
        raise UsageError(f"the database {url!r}", wanted="a file or postgresql://...") from None
    except ModuleNotFoundError as error:
        raise LesionError(
            f"PostgreSQL needs the package {error.name}", mend="pip install 'psycopg[binary]'"
        ) from None
    path = Path(str(parsed.database))
    if not create and not path.is_file():
        raise LesionError(
            f"no such file: {path}",
            wanted="the decisions of a round of review",
            mend="--db with the file that `lesion qa` named at its start",
        )
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed, connect_args={"timeout": 30})
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    # Transactions are begun by `_begin_sqlite`, not by the driver's guesses.
    connection.isolation_level = None
    cursor = connection.cursor()
    # Readers do not wait for writers; FULL: a decision that was answered survives a power cut.
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later would fail where another wrote in between.
    reads = connection.get_execution_options().get(_READ_ONLY)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
