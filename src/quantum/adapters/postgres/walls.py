"""Row-level security: a second wall between tenants, in the database itself, behind the questions that name the tenant.

Every transaction says first whose it is, and the database shows and takes rows of that tenant only, whatever a
statement asks for. A user whom policies do not bind (a superuser) works as a role that has no rights but those on the
rows. The walls are optional: where they cannot be put up, `quantum doctor` says so and everything else is the same.

Whose a transaction is, is said on every PostgreSQL, walls or none, so that they can be put up while others run.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from psycopg import errors

from quantum.adapters.postgres.schema import LEASES, STEPS
from quantum.adapters.postgres.statements import change, fetch

if TYPE_CHECKING:
    from quantum.adapters.postgres.statements import Connection

TABLES: Final = tuple(
    found[1] for text in (LEASES, *STEPS) if (found := re.search(r"CREATE TABLE IF NOT EXISTS (\w+) \(\s*tenant", text))
)
"""Every table that has rows of tenants."""
ROLE: Final = "quantum_tenant"
"""As whom a user works that policies do not bind; nobody can log in as it."""
AS_TENANT: Final = "SELECT set_config('quantum.tenant', %s, true)"
AS_TENANT_AND_ROLE: Final = f"SELECT set_config('quantum.tenant', %s, true), set_config('role', '{ROLE}', true)"
"""Said at the beginning of a transaction, and forgotten at its end, so that poolers may stand between."""
IS_FREE: Final = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
OURS: Final = (
    "SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity AND EXISTS (SELECT 1 FROM pg_policies AS p"
    " WHERE p.schemaname = n.nspname AND p.tablename = c.relname), pg_has_role(c.relowner, 'USAGE'),"
    " coalesce((SELECT has_table_privilege(r.oid, c.oid, 'DELETE') FROM pg_roles AS r WHERE r.rolname = %s), false)"
    " FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
    " WHERE n.nspname = current_schema() AND c.relname = ANY(%s)"
)


class Walls:
    """What is seen of the walls of a database.

    Attributes:
        opening: what a transaction begins with; its only value is the tenant. None where there cannot be walls.
        standing: the tables that have one which binds this user.
        missing: the tables that could be given one by this user.
    """

    def __init__(self, opening: str | None, standing: frozenset[str], missing: tuple[str, ...]) -> None:
        self.opening = opening
        self.standing = standing
        self.missing = missing

    @property
    def are_up(self) -> bool:
        """Whether every table of tenants has a wall."""
        return self.standing == frozenset(TABLES)


async def look_at_walls(connection: Connection) -> Walls:
    """Return what is seen. The connection commits by itself."""
    if connection.info.parameter_status("crdb_version"):
        return Walls(None, frozenset(), ())
    is_free = bool((await fetch(connection, IS_FREE))[0][0])
    found = await fetch(connection, OURS, ROLE, list(TABLES))
    standing = frozenset(name for name, has_wall, _, granted in found if has_wall and (granted or not is_free))
    missing = tuple(name for name, _, is_own, _ in found if is_own and name not in standing)
    # the role may be taken only when it may do everything, or a table of a later step would be out of reach
    has_role = is_free and bool(found) and all(granted for *_, granted in found)
    return Walls(AS_TENANT_AND_ROLE if has_role else AS_TENANT, standing, missing)


async def put_up_walls(connection: Connection) -> None:
    """Give every table a wall that has none, as far as this user may. The caller holds the lease of the schema."""
    walls = await look_at_walls(connection)
    if not walls.missing:
        return
    if (await fetch(connection, IS_FREE))[0][0]:
        # made by another database of the server at this moment, or this user may not
        with suppress(errors.DuplicateObject, errors.UniqueViolation, errors.InsufficientPrivilege):
            await change(connection, f"CREATE ROLE {ROLE} NOLOGIN NOSUPERUSER NOBYPASSRLS")
    has_role = await fetch(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", ROLE)
    for table in walls.missing:
        async with connection.transaction():
            await change(connection, f"DROP POLICY IF EXISTS of_tenant ON {table}")
            await change(
                connection,
                f"CREATE POLICY of_tenant ON {table} USING (tenant = current_setting('quantum.tenant', true))"
                " WITH CHECK (tenant = current_setting('quantum.tenant', true))",
            )
            await change(connection, f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
            await change(connection, f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
            if has_role:
                await change(connection, f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {ROLE}")
