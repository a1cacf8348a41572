"""The tree of exceptions."""

import builtins
import pickle

import pytest
import transload
from transload import exceptions

KINDS = {
    "config": transload.ConfigError,
    "auth": transload.AuthError,
    "permission": transload.PermissionDeniedError,
    "unreachable": transload.UnreachableError,
    "tls": transload.TlsError,
    "timeout": transload.TransloadTimeoutError,
    "not_found": transload.NotFoundError,
    "conflict": transload.ConflictError,
    "type_mapping": transload.TypeMappingError,
    "schema_changed": transload.SchemaChangedError,
    "data": transload.DataError,
    "rate_limited": transload.RateLimitedError,
    "cancelled": transload.Cancelled,
    "unsupported": transload.UnsupportedError,
    "internal": transload.InternalError,
}


def test_one_class_for_each_kind():
    assert {cls.kind: cls for cls in transload.TransloadError.__subclasses__()} == KINDS
    for cls in [*KINDS.values(), transload.TransloadError]:
        assert cls.__name__ in transload.__all__
        assert cls.__doc__
        assert not hasattr(builtins, cls.__name__)


@pytest.mark.parametrize("kind", KINDS)
def test_fields_of_the_engine_become_attributes(kind):
    fields = {
        "kind": kind,
        "retryable": True,
        "message": "m",
        "operation": "read",
        "hint": "h",
        "context": {"table": "t"},
        "causes": ["c"],
    }
    error = exceptions.from_engine("text", fields, {"status": "failed"})
    assert type(error) is KINDS[kind]
    assert {name: getattr(error, name) for name in fields} == fields
    assert (str(error), error.report) == ("text", {"status": "failed"})
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), "text", vars(error))


def test_a_kind_of_a_newer_engine_is_a_transload_error():
    fields = {"kind": "new", "retryable": False, "message": "m", "operation": None, "hint": None}
    fields |= {"context": {}, "causes": []}
    assert type(exceptions.from_engine("text", fields, None)) is transload.TransloadError


def test_hosts_may_raise_them_in_tests_of_their_own():
    error = transload.NotFoundError("no such table")
    assert (error.message, error.retryable, error.context, error.report) == ("no such table", False, {}, None)


def test_an_error_of_the_engine(shop):
    with pytest.raises(transload.NotFoundError) as caught:
        shop.describe("public.nothing")
    error = caught.value
    assert (error.kind, error.operation, error.retryable) == ("not_found", "describe", False)
    assert error.context == {"table": "public.nothing", "connection": "shop"}
    assert error.message in str(error) and str(error).endswith(error.hint)
