"""transload moves tables: sources to Arrow, mapped to BigQuery types, loaded exactly once.

>>> import transload
>>> shop = transload.Connection("memory:shop", name="shop")
>>> shop.test()["status"]
'ok'
"""

from . import exceptions
from ._runner import Runner
from ._transload import (
    BatchReport,
    CancelHandle,
    Connection,
    EtlJob,
    MappingDiff,
    RecordBatch,
    RecordBatchReader,
    RunReport,
    Schedule,
    SchemaMapper,
    TableMapping,
    __version__,
    connectors,
    schema_of_job,
    set_memory_budget,
)
from .exceptions import (
    AuthError,
    Cancelled,
    ConfigError,
    ConflictError,
    DataError,
    InternalError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    SchemaChangedError,
    TlsError,
    TransloadError,
    TransloadTimeoutError,
    TypeMappingError,
    UnreachableError,
    UnsupportedError,
)

__all__ = [
    "AuthError",
    "BatchReport",
    "CancelHandle",
    "Cancelled",
    "ConfigError",
    "ConflictError",
    "Connection",
    "DataError",
    "EtlJob",
    "InternalError",
    "MappingDiff",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitedError",
    "RecordBatch",
    "RecordBatchReader",
    "RunReport",
    "Runner",
    "Schedule",
    "SchemaChangedError",
    "SchemaMapper",
    "TableMapping",
    "TlsError",
    "TransloadError",
    "TransloadTimeoutError",
    "TypeMappingError",
    "UnreachableError",
    "UnsupportedError",
    "__version__",
    "connectors",
    "exceptions",
    "schema_of_job",
    "set_memory_budget",
]
