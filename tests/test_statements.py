from datetime import timedelta

import pytest
from sqlalchemy import bindparam, insert, select, text, update
from sqlalchemy.exc import DatabaseError, IntegrityError

import clock
import database
from database.statements import Statement
from models import ApiKey, Invite
from rules import invites

ALL = Statement(select(Invite.__table__).where(Invite.id == bindparam("id")))


@pytest.mark.parametrize("makes_admin", [True, False])
def test_a_row_is_read_as_sqlalchemy_reads_it(house, makes_admin):
    with house.writing():
        invites.create(invites.Draft(ttl=timedelta(hours=1), makes_admin=makes_admin), invites.SHELL)
    with house.reading() as unit:
        read = unit.connection.execute(select(Invite.__table__)).one()
        row = ALL.first(id=read.id)
        assert row._asdict() == read._asdict()
        assert row.makes_admin is makes_admin
        assert row.created_at.tzinfo


@pytest.mark.sqlite
def test_a_row_is_written_as_sqlalchemy_writes_it(house):
    key = {"name": None, "secret_hash": "0" * 64, "created_at": clock.now()}
    with house.writing():
        Statement(insert(ApiKey)).run(id="ours", **key)
        database.session().execute(insert(ApiKey), {"id": "theirs", **key})
    with house.reading() as unit:
        rows = unit.connection.execute(text("SELECT name, secret_hash, created_at, typeof(created_at) FROM api_keys"))
        ours, theirs = rows
    assert ours == theirs


def test_what_the_session_has_to_write_is_written_before(house):
    with house.writing():
        invite = invites.create(invites.Draft(), invites.SHELL)
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


@pytest.mark.parametrize(
    ("build", "error"),
    [
        (lambda: insert(ApiKey), IntegrityError),
        (lambda: text("INSERT INTO nowhere (id) VALUES (:id)"), DatabaseError),
    ],
)
def test_what_the_database_refuses_comes_as_sqlalchemy_says_it(house, build, error):
    with house.writing(), pytest.raises(error) as told:
        Statement(build()).run(id="ours")
    assert "ours" not in str(told.value)


@pytest.mark.sqlite
def test_a_damaged_cell_is_the_databases_fault(house, make_invite):
    make_invite()
    with house.writing() as unit:
        unit.connection.execute(text("UPDATE invites SET id = 'damaged', created_at = 'soon'"))
    with pytest.raises(database.Unavailable), house.reading():
        ALL.first(id="damaged")


def test_every_parameter_needs_a_value(house):
    with pytest.raises(KeyError), house.reading():
        Statement(select(Invite.id).where(Invite.id == bindparam("id"))).run()


def test_a_parameter_that_is_needed_twice_is_given_once(house, make_invite):
    make_invite()
    between = Invite.created_at <= bindparam("now"), Invite.expires_at > bindparam("now")
    with house.reading():
        assert Statement(select(Invite.id).where(*between)).value(now=clock.now())


def test_what_is_written_by_the_driver_alone_is_kept_or_forgotten_with_its_unit(house):
    make = Statement(insert(ApiKey))
    key = {"secret_hash": "0" * 64, "created_at": clock.now()}
    with house.writing():
        make.run(id="kept", **key)
    with house.reading():
        make.run(id="read", **key)
    with pytest.raises(ZeroDivisionError), house.writing():
        make.run(id="failed", **key)
        1 / 0  # noqa: B018
    with house.reading() as unit:
        assert unit.connection.scalars(select(ApiKey.id)).all() == ["kept"]
