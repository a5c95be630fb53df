"""`erase`: what left is recalled, and soon afterwards no byte of the customer is left in store, changelog, compacted outputs and logs."""

import json
import secrets

from harness import app as apps
from harness import feed, reader, shop, topics, wait

OTHERS = [f"c-{n}" for n in range(24)]


def files_with(directory, mark):
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file() and mark.encode() in path.read_bytes())


def records_with(address, names, mark):
    """Records that a reader who sees everything still gets of it."""
    found = reader.read(address, names, "read_uncommitted")
    return [(r.topic, r.partition, r.offset) for r in found if any(mark.encode() in part for part in (r.key or b"", r.value or b""))]


def test_no_byte_of_an_erased_customer_is_left(shared_broker, workspace):
    mark = f"ersd{secrets.token_hex(6)}"
    shop_now = shop.Live(shared_broker, workspace, after="2s", within="30m")
    config = shop_now.app.config()
    compacted = [f"{shop_now.name}-profiles-changelog", f"{shop_now.name}-blocks"]
    address = shared_broker.address
    with shop_now.read() as live:
        process = shop_now.app.start("a").ready()
        shop_now.identify([*OTHERS, mark])
        for visitor in (f"{mark}-v", f"{mark}-w"):
            event = {"type": "page_viewed", "event_time": feed.now_text(), "source": "test", "properties": {"url": "https://shop.test/"}}
            shop_now.feeder.event({**event, "event_id": f"{visitor}-1", "anonymous_id": visitor})
            shop_now.feeder.event({**event, "event_id": f"{visitor}-2", "anonymous_id": visitor, "customer_id": mark})
        shop_now._event("unsubscribed", mark, {"channel": "push", "scope": "channel"})
        shop_now.leave_carts([*OTHERS, mark])
        begun = feed.now_text()
        (sent,) = wait.until("the reminder left", lambda: [v for v in shop_now.sent(live) if v["customer_id"] == mark], 30)
        shop_now.wait_read()
        assert {topic for topic, _, _ in records_with(address, compacted, mark)} == set(compacted), "there is something to erase"
        assert files_with(shop_now.app.state_dir, mark)

        shown = apps.command("erase", "--customer", mark, "--config", config).stdout
        assert "Nothing was published" in shown and mark not in shown, shown
        done = apps.command("erase", "--customer", mark, "--yes", "--config", config).stdout
        proof = next(word for word in done.split() if word.startswith("h:"))
        assert mark not in done and done.endswith("published\n"), done
        # Wherever in the erasure that hits it: the next start ends it.
        process.kill()
        process = shop_now.app.start("a").ready()

        def recalled():
            found = (json.loads(r.value) for r in list(live.records) if r.topic in shop_now.channels)
            return [v["reason"] for v in found if v.get("cancels") == sent["decision_id"]]

        assert wait.until("the reminder is recalled", recalled, 30) == ["profile_erased"]
        proofs = wait.until(
            "the log says who was erased: the customer and two devices",
            lambda: (found := [v for v in shop_now.verdicts(live, "outcome") if v["outcome"] == "erased"]) and len(found) == 3 and found, 30,
        )  # fmt: skip
        assert proof in {v["profile"] for v in proofs} and mark not in json.dumps(proofs)
        # Told late, under the customer's id and a device's: it was before.
        late = {"type": "page_viewed", "event_time": begun, "source": "test", "properties": {"url": "https://shop.test/"}}
        shop_now.feeder.event({**late, "event_id": "late-1", "customer_id": mark})
        shop_now.feeder.event({**late, "event_id": "late-2", "anonymous_id": f"{mark}-v"})
        shop_now.wait_read()
        wait.until("both are dropped", lambda: process.metric("tidegate_events_total", outcome="erased") == 2, 20)

        def names_of_files(path):
            # The list of a store's files names the first and last key of files that are gone, until it is written anew.
            return "MANIFEST" in path

        state = shop_now.app.state_dir
        wait.until(lambda: f"clean files: {files_with(state, mark)}", lambda: all(map(names_of_files, files_with(state, mark))), 60, every=0.5)
        process.stop()
        shop_now.app.start("a").ready().stop()
        assert files_with(state, mark) == []
        dumped = apps.command("state", "dump", "--config", config).stdout.splitlines()
        assert len(dumped) > len(OTHERS)
        held = [line for line in map(json.loads, dumped) if any(mark.encode() in bytes.fromhex(line[part]) for part in ("key", "value"))]
        assert held == []
        apps.command("state", "verify", "--config", config)

        # What the broker does in a day, in seconds: a segment is closed, cleaned, and its tombstones go.
        process = shop_now.app.start("a").ready()
        for topic in compacted:
            topics.alter(address, topic, segment_ms=500, max_compaction_lag_ms=1000, min_cleanable_dirty_ratio=0.001, delete_retention_ms=100)

        def cleaned():
            shop_now.order(OTHERS)
            shop_now.wait_read()
            return not records_with(address, compacted, mark)

        wait.until(lambda: f"the compacted topics are clean: {records_with(address, compacted, mark)[:5]}", cleaned, 240, every=2)

        # Somebody else is reached there now: what was forbidden holds for them, too.
        shop_now._event("identified", "heir", {"addresses": {"push": f"token-{mark}"}, "consents": {"push": True}})
        shop_now.feeder.flush()

        def barred():
            found = (json.loads(r.value) for r in list(live.records) if r.topic in shop_now.channels)
            return [v["reason"] for v in found if v["customer_id"] == "heir" and v["kind"] == "suppress" and v["channel"] == "push"]

        assert wait.until("the heir is not written to", barred, 30) == ["unsubscribed"]
        shop_now.stop()
    logs = "".join(log.read_text(errors="replace") for log in {p.log for p in shop_now.app.processes})
    assert len(logs) > 1000 and mark not in logs


def test_a_customer_is_erased_through_an_input_that_reads_another_shape_or_leaves_records_out(shared_broker, workspace):
    shop_now = shop.Live(shared_broker, workspace, after="1h")
    plain = shop_now.app.settings

    def bound(**read):
        """The input of customers reads like that."""

        def written(app, instance):
            settings = plain(app, instance)
            customers = next(i for i in settings["inputs"] if i["stream"] == "customers")
            if "mapping" in read:
                del customers["stream"]
            customers.update(read)
            return settings

        shop_now.app.settings = written
        return shop_now.app.config()

    def refused(config, *more):
        done = apps.command("erase", "--customer", "c-1", *more, "--config", config, check=False)
        return done.returncode, done.stdout + done.stderr

    fields = {"event_id": "id", "event_time": "at", "customer_id": "who", "source": {"const": "crm"}}
    mapping = {"type": {"path": "what", "otherwise": "refuse", "table": {"gone": "erased"}}, "fields": fields}
    mapped = json.dumps({"what": "gone", "id": "g-1", "at": feed.now_text(), "who": "c-1"})
    config = bound(mapping=mapping, name="people")
    code, said = refused(config)
    assert code == 78 and "--record" in said and "c-1" not in said, said
    assert topics_of(refused(config, "--record", mapped)) == shop_now.topics["customers"]

    config = bound(filter={"shop": "de"})
    code, said = refused(config)
    assert code == 78 and "a filter that leaves it out" in said, said
    ours = {"event_id": "g-2", "type": "erased", "event_time": feed.now_text(), "customer_id": "c-1", "source": "test"}
    assert refused(config, "--record", json.dumps({**ours, "shop": "fr"}))[0] == 78
    assert refused(config, "--record", json.dumps({**ours, "shop": "de", "customer_id": "c-2"}))[0] == 78
    process = shop_now.app.start("a").ready()
    shop_now.feeder.event({"event_id": "i-1", "type": "identified", "event_time": feed.now_text(), "customer_id": "c-1", "shop": "de", "properties": {"locale": "de"}})
    shop_now.feeder.flush()
    shop_now.wait_read()
    gone = json.dumps({**ours, "shop": "de", "event_time": feed.now_text()})
    apps.command("erase", "--customer", "c-1", "--record", gone, "--yes", "--config", config)
    shop_now.wait_read()
    process.stop()
    assert "c-1" not in apps.command("state", "dump", "--profiles", "--config", config).stdout


def topics_of(refusal):
    """The topic that a shown plan names."""
    code, said = refusal
    assert code == 0, said
    return said.split("`erased` event in ")[1].split(";")[0]
