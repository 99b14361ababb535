"""`surfaces.yaml` as pydantic models: what is built for whom, from where, within which limits.

`load_config` is the only reader of the file and of the environment variables beside it. Every
mistake in the file is reported at once, each with file, surface and key.

Each module imports only from those above it:

    quoting      what of the file an error may quote
    values       what a single value may be, and the base of the models
    patterns     {tenant}/{surface}/{day}: the rules of such a pattern, and what it takes
    options      the artifact kinds and their options
    leaving_out  bots and withdrawn items, which artifacts leave out
    release_gates  how what would become live is compared with what is
    gates        how a day is judged by the days before it
    columns      which fields of raw rows are which, and how sessions are built
    catalogs     the item catalog
    tables       names of tables, and queries in place of them
    landing      when raw events have landed, and Kafka topics
    sources      where raw events come from
    sinks        where what is live is delivered to
    engines      what computes the artifacts
    surface      one surface, its limits, its days
    whole        the whole file
    strict_yaml  text to plain values
    variants     entries that are made of the events of another one
    commented    every key with its meaning, for people to edit
    file         reads it, and says what is wrong with it
"""

from recsys_assets.config.catalogs import Catalog
from recsys_assets.config.commented import commented
from recsys_assets.config.engines import Engine
from recsys_assets.config.file import (
    CONFIG_VARIABLE,
    PACKAGED_CONFIG,
    ROOT_VARIABLE,
    config_file,
    load_config,
    surface_with,
    typed_root,
)
from recsys_assets.config.gates import Gates, Margins
from recsys_assets.config.landing import Kafka, Landing
from recsys_assets.config.options import (
    Artifacts,
    ContentSim,
    Cooc,
    Implicit,
    Options,
    Popularity,
    Reads,
    SessionSeq,
)
from recsys_assets.config.patterns import DayPattern, segments_of
from recsys_assets.config.quoting import closest, without_quotes, without_secrets
from recsys_assets.config.sinks import (
    AnySink,
    FilesSink,
    PostgresSink,
    RedisSink,
    ServiceTables,
    WebhookSink,
)
from recsys_assets.config.sources import Source
from recsys_assets.config.surface import Freshness, Guardrails, Surface
from recsys_assets.config.values import (
    AtLeastOne,
    AtLeastZero,
    Location,
    Model,
    Segment,
    Share,
    TimeOfDay,
    VariableName,
    WebUrl,
    is_object_url,
)
from recsys_assets.config.whole import Alerts, Broken, Config, Retention

__all__ = [
    "CONFIG_VARIABLE",
    "PACKAGED_CONFIG",
    "ROOT_VARIABLE",
    "Alerts",
    "AnySink",
    "Artifacts",
    "AtLeastOne",
    "AtLeastZero",
    "Broken",
    "Catalog",
    "Config",
    "ContentSim",
    "Cooc",
    "DayPattern",
    "Engine",
    "FilesSink",
    "Freshness",
    "Gates",
    "Guardrails",
    "Implicit",
    "Kafka",
    "Landing",
    "Location",
    "Margins",
    "Model",
    "Options",
    "Popularity",
    "PostgresSink",
    "Reads",
    "RedisSink",
    "Retention",
    "Segment",
    "ServiceTables",
    "SessionSeq",
    "Share",
    "Source",
    "Surface",
    "TimeOfDay",
    "VariableName",
    "WebUrl",
    "WebhookSink",
    "closest",
    "commented",
    "config_file",
    "is_object_url",
    "load_config",
    "segments_of",
    "surface_with",
    "typed_root",
    "without_quotes",
    "without_secrets",
]
