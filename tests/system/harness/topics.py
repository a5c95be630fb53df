"""Topics of a test: created explicitly, named after the application so that tests never meet."""

import functools

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic

from . import wait

STREAMS = ("clickstream", "purchases", "deliveries", "customers")


@functools.cache
def admin(address):
    """One client per broker for the whole session: a client that is dropped cancels the answers it still waits for."""
    return AdminClient({"bootstrap.servers": address, "log_level": 0, "reconnect.backoff.max.ms": 200})


def create(address, names, partitions, config=None):
    """Create topics (one replica) and wait until the broker says that they exist."""
    # Kept for ever: records are stamped with event time, and the default retention would delete old ones at its next check.
    settings = {"retention.ms": "-1", **(config or {})}
    futures = admin(address).create_topics(
        [NewTopic(n, num_partitions=partitions, replication_factor=1, config=settings) for n in names], operation_timeout=20
    )
    for name, future in futures.items():
        try:
            future.result(timeout=30)
        except KafkaException as error:
            raise AssertionError(f"create topic {name}: {error}") from error


def grow(address, name, partitions):
    """Give a topic more partitions and wait until the broker says that it has them."""
    admin(address).create_partitions([NewPartitions(name, partitions)], operation_timeout=20)[name].result(timeout=30)
    wait.until(f"{name} has {partitions} partitions", lambda: len(admin(address).list_topics(timeout=10).topics[name].partitions) == partitions, 20)


def delete(address, names):
    """Delete topics and wait until the broker says that they are gone."""
    for name, future in admin(address).delete_topics(list(names), operation_timeout=20).items():
        try:
            future.result(timeout=30)
        except KafkaException as error:
            raise AssertionError(f"delete topic {name}: {error}") from error
    wait.until(f"{names} are gone", lambda: not set(names) & set(admin(address).list_topics(timeout=10).topics), 20)


def delete_group(address, group):
    """Delete a consumer group; False while it has members."""
    try:
        admin(address).delete_consumer_groups([group])[group].result(20)
    except KafkaException as error:
        assert error.args[0].code() == KafkaError.NON_EMPTY_GROUP, error
        return False
    return True


def partitions(address, topic):
    """How many partitions a topic has; 0 while there is none of that name."""
    found = admin(address).list_topics(topic, timeout=10).topics[topic]
    return 0 if found.error else len(found.partitions)


def names(address):
    return set(admin(address).list_topics(timeout=10).topics)


def settings(address, topic):
    """A topic's effective settings, name to value."""
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    (future,) = admin(address).describe_configs([resource]).values()
    return {name: entry.value for name, entry in future.result(timeout=20).items()}


def alter(address, topic, **values):
    """Change settings of a topic; underscores stand for dots."""
    entries = [ConfigEntry(k.replace("_", "."), str(v), incremental_operation=AlterConfigOpType.SET) for k, v in values.items()]
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
    (future,) = admin(address).incremental_alter_configs([resource]).values()
    future.result(timeout=20)
