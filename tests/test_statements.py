from contextlib import suppress
from datetime import timedelta

import pytest
from sqlalchemy import BigInteger, Boolean, Integer, Text, bindparam, insert, select, text, update
from sqlalchemy.exc import IntegrityError, InvalidRequestError

import clock
import database
from database.statements import Statement
from models import ApiKey, Invite, Moment
from rules import drafts, gate, invites, keys, redemption, sessions

ALL = Statement(select(Invite.__table__).where(Invite.id == bindparam("id")))

OURS = {
    f"{module.__name__}.{name}": each
    for module in (gate, invites, keys, redemption, sessions)
    for name, each in vars(module).items()
    if isinstance(each, Statement)
}
GIVEN = {Text: "0" * 64, Integer: 1, BigInteger: 1, Boolean: True, Moment: clock.now()}


@pytest.mark.sqlite
@pytest.mark.parametrize("name", OURS)
def test_sqlite_is_sent_what_sqlalchemy_would_send(house, name):
    statement, sent = Statement(OURS[name].built), []  # the rules' own keeps the names of the values it is first given
    kinds = {each.key: type(each.type) for each in statement.built.compile().bind_names}
    values = {key: GIVEN[kind] for key, kind in kinds.items() if "%" not in key}
    with house.writing() as unit:
        unit.connection.connection.driver_connection.set_trace_callback(sent.append)
        for run in (lambda: statement.run(**values), lambda: unit.connection.execute(statement.built, values)):
            with suppress(IntegrityError):
                run()
    ours, theirs = (each for each in sent if not each.startswith(("BEGIN", "COMMIT", "ROLLBACK")))
    assert ours == theirs


@pytest.mark.parametrize("makes_admin", [True, False])
def test_a_row_is_read_as_sqlalchemy_reads_it(house, makes_admin):
    with house.writing():
        invites.create(drafts.Draft(ttl=timedelta(hours=1), makes_admin=makes_admin), drafts.SHELL)
    with house.reading() as unit:
        read = unit.connection.execute(select(Invite.__table__)).one()
        row = ALL.first(id=read.id)
        assert row._asdict() == read._asdict()
        assert row.makes_admin is makes_admin
        assert row.created_at.tzinfo


@pytest.mark.sqlite
def test_a_row_is_written_as_sqlalchemy_writes_it(house):
    key = {"name": None, "may": "create", "secret_hash": "0" * 64, "created_at": clock.now()}
    with house.writing():
        Statement(insert(ApiKey)).run(id="ours", **key)
        database.session().execute(insert(ApiKey), {"id": "theirs", **key})
    with house.reading() as unit:
        rows = unit.connection.execute(text("SELECT name, secret_hash, created_at, typeof(created_at) FROM api_keys"))
        ours, theirs = rows
    assert ours == theirs


def test_what_the_session_has_to_write_is_written_before(house):
    with house.writing():
        invite = invites.create(drafts.Draft(), drafts.SHELL)
        assert ALL.first(id=invite.id)


def test_a_constant_in_a_statement_stays_what_it_is(house, make_invite):
    make_invite(uses="9")
    take = Statement(
        update(Invite).where(Invite.uses < bindparam("most")).values(uses=Invite.uses + 2).returning(Invite.uses)
    )
    with house.writing():
        assert [take.value(most=4) for _ in range(3)] == [2, 4, None]


def test_where_there_is_no_row_there_is_no_value(house):
    with house.reading():
        assert ALL.run(id="nobody") == []
        assert ALL.first(id="nobody") is ALL.value(id="nobody") is None


def test_what_a_constraint_refuses_comes_as_sqlalchemy_says_it(house):
    with house.writing(), pytest.raises(IntegrityError) as told:
        Statement(insert(ApiKey)).run(id="ours")
    assert "ours" not in str(told.value)


def test_what_the_database_cannot_do_comes_as_its_driver_says_it(house):
    with house.writing(), pytest.raises(house.engine.dialect.loaded_dbapi.Error) as told:
        Statement(text("INSERT INTO nowhere (id) VALUES (:id)")).run(id="ours")
    assert "ours" not in str(told.value)


@pytest.mark.sqlite
@pytest.mark.parametrize("cell", ["'soon'", "0", "x'00'", "''"])
def test_a_damaged_cell_is_the_databases_fault(house, make_invite, cell):
    make_invite()
    with house.writing() as unit:
        unit.connection.execute(text(f"UPDATE invites SET id = 'damaged', created_at = {cell}"))
    with pytest.raises(database.Unavailable), house.reading():
        ALL.first(id="damaged")


def test_every_parameter_needs_a_value(house):
    with pytest.raises(InvalidRequestError), house.reading():
        Statement(select(Invite.id).where(Invite.id == bindparam("id"))).run()


def test_a_parameter_that_is_needed_twice_is_given_once(house, make_invite):
    make_invite()
    between = Invite.created_at <= bindparam("now"), Invite.expires_at > bindparam("now")
    with house.reading():
        assert Statement(select(Invite.id).where(*between)).value(now=clock.now())


def test_what_is_written_by_the_driver_alone_is_kept_or_forgotten_with_its_unit(house):
    make = Statement(insert(ApiKey))
    key = {"may": "create", "secret_hash": "0" * 64, "created_at": clock.now()}
    with house.writing():
        make.run(id="kept", **key)
    with house.reading():
        make.run(id="read", **key)
    with pytest.raises(ZeroDivisionError), house.writing():
        make.run(id="failed", **key)
        1 / 0  # noqa: B018
    with house.reading() as unit:
        assert unit.connection.scalars(select(ApiKey.id)).all() == ["kept"]
