"""What must be true afterwards, whatever happened: compared with `tidegate replay`, which knows no Kafka, no crash and no second instance."""

import json
from collections import Counter, defaultdict

# Verdicts that are also one record on their channel's topic.
LOUD = ("send", "suppress", "release", "cancel", "refuse")


def verdicts(path):
    """The verdicts of a file of JSON Lines."""
    with open(path, encoding="utf-8") as source:
        return [json.loads(line) for line in source]


def sameness(verdict):
    """What of a verdict must be equal in `run` and `replay`: all but where its cause stood on the bus."""
    rest = dict(verdict)
    cause = dict(rest.get("cause") or {})
    for place in ("topic", "partition", "offset"):
        cause.pop(place, None)
    rest["cause"] = cause
    return json.dumps(rest, sort_keys=True)


def by_profile(found):
    """Verdicts in order, per profile."""
    groups = defaultdict(list)
    for verdict in found:
        groups[verdict["profile"]].append(verdict)
    return groups


def _some(items, limit=5):
    items = list(items)
    return f"{items[:limit]}{' …' if len(items) > limit else ''} ({len(items)})"


def nothing_lost_repeated_or_invented(log, replayed):
    """The decision log (records) against the verdicts of replay: same ids, each as often, same order and content per profile."""
    logged = [json.loads(r.value) for r in log]
    ours = Counter((v["decision_id"], v["verdict"]) for v in logged)
    theirs = Counter((v["decision_id"], v["verdict"]) for v in replayed)
    assert replayed, "replay decided nothing: this would prove nothing"
    lost = theirs - ours
    extra = ours - theirs
    repeated = {k for k in extra if k in theirs}
    assert not lost, f"lost: {_some(lost)}"
    assert not repeated, f"repeated: {_some(repeated)}"
    assert not extra, f"invented: {_some(extra)}"
    # All of a profile stands in one partition, so the order of records there is the order of its decisions.
    expected = by_profile(replayed)
    for profile, sequence in by_profile(logged).items():
        found, wanted = [sameness(v) for v in sequence], [sameness(v) for v in expected[profile]]
        if found != wanted:
            at = next(i for i, (f, w) in enumerate(zip(found, wanted)) if f != w)
            raise AssertionError(f"a profile's verdict {at} of {len(wanted)} differs:\n run    {found[at]}\n replay {wanted[at]}")


def channels_say_what_the_log_says(channel_records, log):
    """Every loud verdict is one record on its channel's topic, under the order of the log; nothing else is there."""
    logged = [json.loads(r.value) for r in log]
    wanted = Counter((v["channel"], v["decision_id"]) for v in logged if v["verdict"] in LOUD)
    said = [json.loads(r.value) for r in channel_records]
    found = Counter((v["channel"], v["decision_id"]) for v in said)
    twice = [k for k, n in found.items() if n > 1]
    assert not twice, f"a channel got a decision twice: {_some(twice)}"
    assert found == wanted, f"only in the log: {_some(wanted - found)}; only on the channel: {_some(found - wanted)}"
    place = {(v["channel"], v["decision_id"]): n for n, v in enumerate(logged) if v["verdict"] in LOUD}
    last = {}
    for record, verdict in zip(channel_records, said):
        # What retracts goes under the key of what it retracts: a customer who was a visitor has records under two keys.
        line = (verdict["channel"], record.key, verdict["profile"])
        at = place[(verdict["channel"], verdict["decision_id"])]
        assert last.get(line, -1) < at, f"{line[0]}: the order of a customer's records differs from the decision log"
        last[line] = at


def one_owner_for_all_inputs(commits, inputs):
    """EO-5, from the broker's own record of every commit: at any time one instance owns a partition number, for all inputs alike.

    `commits` is what reader.commits gives; the metadata of an offset names the instance and worker that committed it. Every transaction commits
    the positions of all inputs of its tasks, so per partition number the owners must change for all inputs at the same place.
    Returns the owners of each partition number, in order.
    """
    owners = defaultdict(list)
    open_sets = {}
    for commit in commits:
        if commit.topic not in inputs:
            continue
        owner = commit.metadata.rstrip("\0")
        assert owner, f"an offset of {commit.topic}/{commit.partition} was committed without a name"
        stretch = owners[commit.partition]
        if not stretch or stretch[-1] != owner:
            if stretch:
                missing = set(inputs) - open_sets[commit.partition]
                assert not missing, f"partition {commit.partition}: {stretch[-1]} gave way to {owner} without ever having had {missing}"
            stretch.append(owner)
            open_sets[commit.partition] = set()
        open_sets[commit.partition].add(commit.topic)
    for partition, stretch in owners.items():
        missing = set(inputs) - open_sets[partition]
        assert not missing, f"partition {partition}: {stretch[-1]} never committed {missing}"
    return dict(owners)


def offsets_never_go_back(commits):
    """EO-1: per input partition, committed offsets only grow."""
    last = {}
    for commit in commits:
        key = (commit.topic, commit.partition)
        assert commit.offset >= last.get(key, 0), f"{key}: {last[key]} was followed by {commit.offset}"
        last[key] = commit.offset
