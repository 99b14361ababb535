"""The messages of a Kafka topic, by confluent-kafka: what is there, and slices of it.

Nothing is subscribed to and no offset is committed: the broker is only read. The addresses of the
brokers and the settings of the client are secrets; no error quotes them.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from recsys_assets.config import Kafka, without_quotes, without_secrets
from recsys_assets.errors import ConfigError, TopicError
from recsys_assets.operations.offsets import Bounds

_ANSWER_S: Final = 15.0  # in which brokers answer a question
_SILENCE_S: Final = 60.0  # after which brokers that send nothing of a slice are given up on
# A batch ends with whichever comes first.
_BATCH_MESSAGES: Final = 20_000
_BATCH_BYTES: Final = 8 * 2**20
_AT_ONCE: Final = 500  # taken from the client's queue, which holds _QUEUE_KB of each partition
_QUEUE_KB: Final = 32 * 2**10
# What the landing rests on: settings from the environment do not change it.
_FIXED: Final[Mapping[str, Any]] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
    "allow.auto.create.topics": False,
    "log_level": 0,  # the client's own log, on standard error, quotes addresses
}


class Batch(NamedTuple):
    """Messages of one partition that follow one another.

    Attributes:
        values: without tombstones.
        stamps: the time of each one's record in milliseconds since 1970; 0 where it has none.
        tombstones: messages without a value.
    """

    values: list[bytes]
    stamps: list[int]
    tombstones: int


class Topic:
    """A topic that is being read."""

    def __init__(self, kafka: Kafka, settings: Mapping[str, Any]) -> None:
        import confluent_kafka

        self._kafka = kafka
        self._name = kafka.topic
        self._settings = settings
        self._client = confluent_kafka
        self._last = ""
        try:
            self._consumer = confluent_kafka.Consumer(
                {**settings, **_FIXED, "error_cb": self._remember}
            )
        except confluent_kafka.KafkaException as error:
            raise ConfigError(
                f"the Kafka client refuses its settings: {without_quotes(error.args[0].str())}. "
                f"{_where(kafka)}"
            ) from None

    def bounds(self) -> dict[int, Bounds]:
        """Return the offsets of each partition as they are now.

        Raises:
            TopicError: the topic is not there, or the brokers do not answer.
        """
        name = self._name
        with self._told():
            found = self._consumer.list_topics(name, timeout=_ANSWER_S).topics[name]
            if found.error is not None:
                raise TopicError(
                    f"topic {name} cannot be read: {found.error.str()}. Is it there under this "
                    "name, and may this client describe and read it?"
                )
            return {
                partition: Bounds(
                    *self._consumer.get_watermark_offsets(
                        self._client.TopicPartition(name, partition), timeout=_ANSWER_S
                    )
                )
                for partition in sorted(found.partitions)
            }

    def id(self) -> str:
        """Return what tells the topic from another one of its name; "" of brokers without ids."""
        from confluent_kafka import TopicCollection
        from confluent_kafka.admin import AdminClient

        settings: dict[str, Any] = {**self._settings, "log_level": 0, "error_cb": self._remember}
        admin = AdminClient(settings)
        asked = admin.describe_topics(TopicCollection([self._name]), request_timeout=_ANSWER_S)[
            self._name
        ]
        try:
            found = asked.result(_ANSWER_S).topic_id
        except (self._client.KafkaException, TimeoutError):  # brokers that do not know the question
            return ""
        number = found.get_most_significant_bits(), found.get_least_significant_bits()
        return str(found) if any(number) else ""

    def batches(self, partition: int, start: int, end: int) -> Iterator[Batch]:
        """Yield the messages with start <= offset < end; offsets may have gaps.

        Raises:
            TopicError: they are not kept any more, or the brokers do not answer.
        """
        partitions = [self._client.TopicPartition(self._name, partition, start)]
        with self._told():
            self._consumer.assign(partitions)
            heard, at_end, left = time.monotonic(), False, end - start
            while not at_end:
                batch, size = Batch([], [], 0), 0
                while not at_end and len(batch.values) < _BATCH_MESSAGES and size < _BATCH_BYTES:
                    # No more than there can be: the client waits for as many as it is asked for.
                    messages = self._consumer.consume(min(_AT_ONCE, left), timeout=0.2)
                    for message in messages:
                        if message.error() is not None:
                            at_end |= self._is_end(message, end)
                            continue
                        heard = time.monotonic()
                        offset: Any = message.offset()
                        if offset >= end:
                            at_end = True
                            break
                        left = max(1, end - 1 - offset)
                        at_end |= offset == end - 1
                        value = message.value()
                        if value:
                            size += len(value)
                            batch.values.append(value)
                            batch.stamps.append(max(0, message.timestamp()[1]))
                        else:
                            batch = batch._replace(tombstones=batch.tombstones + 1)
                    if not messages and time.monotonic() - heard > _SILENCE_S:
                        raise TopicError(
                            f"topic {self._name}, partition {partition}: the brokers sent nothing "
                            f"for {_SILENCE_S:.0f} s{self._last}"
                        )
                yield batch

    def close(self) -> None:
        """End the connections."""
        self._consumer.close()

    def _is_end(self, message: Any, end: int) -> bool:
        """Tell whether an event of a partition is that its end, or that of a slice, is reached."""
        error = message.error()
        code = error.code()
        if code == self._client.KafkaError._PARTITION_EOF:
            return bool(message.offset() >= end)
        if code == self._client.KafkaError._AUTO_OFFSET_RESET:
            raise TopicError(
                f"topic {self._name}, partition {message.partition()}: messages from offset "
                f"{message.offset()} on expired while they were read. Land it again"
            )
        if code > 0:  # what a broker says; what the client says of a connection, it tries again
            raise self._client.KafkaException(error)
        self._remember(error)
        return False

    def _remember(self, error: Any) -> None:
        self._last = f": {without_secrets(error.str())}"

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except self._client.KafkaException as error:
            self._consumer.poll(0)  # which tells of connections that failed
            said = without_secrets(error.args[0].str())
            raise TopicError(
                f"topic {self._name} cannot be read: {said}{self._last}. {_where(self._kafka)}"
            ) from None


@contextmanager
def open_topic(kafka: Kafka) -> Iterator[Topic]:
    """Open a topic for reading.

    Raises:
        ConfigError: the client is not installed, or what it is to connect to is not set.
    """
    settings = _settings(kafka)
    try:
        topic = Topic(kafka, settings)
    except ImportError:
        raise ConfigError(
            "landing a topic needs confluent-kafka: pip install 'recsys-assets[kafka]'"
        ) from None
    try:
        yield topic
    finally:
        topic.close()


def _settings(kafka: Kafka) -> dict[str, Any]:
    """Return the settings of the client that the environment gives."""
    brokers = os.environ.get(kafka.brokers_env, "").strip()
    if not brokers:
        raise ConfigError(
            f"${kafka.brokers_env} is not set: landing topic {kafka.topic} takes its brokers from "
            "there, host:port,host:port"
        )
    settings: dict[str, Any] = {"group.id": f"recsys-assets-{kafka.topic}"}
    if kafka.client_env:
        settings |= _object(kafka.client_env)
    return settings | {"bootstrap.servers": brokers, "queued.max.messages.kbytes": _QUEUE_KB}


def _object(variable: str) -> dict[str, Any]:
    try:
        found = json.loads(os.environ.get(variable, ""))
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(
        isinstance(value, str | int | bool) for value in found.values()
    ):
        raise ConfigError(
            f"${variable} must hold the client's settings as a JSON object of texts and numbers, "
            'such as {"security.protocol": "SASL_SSL"}'
        )
    return found


def _where(kafka: Kafka) -> str:
    further = f", its other settings ${kafka.client_env}" if kafka.client_env else ""
    return f"Its brokers are those of ${kafka.brokers_env}{further}"
