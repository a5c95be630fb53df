"""Inputs in Avro with a real schema registry: decided as `replay` decides the same events in JSON, through new schemas and an outage of the registry."""

import time

from harness import reader, secure, shop, wait
from harness.app import command
from harness.gateway import Gateway
from harness.murmur2 import partition
from harness.registry import framed, shipped
from harness.scenario import Scenario, events_file


def order(customer, number):
    """An order as a record of the shipped schema."""
    line = {"product_id": f"p-{customer}", "category": "shoes", "quantity": 1, "price": "50.00", "currency": "EUR"}
    return {
        "event_id": f"avro-{number}-{customer}", "type": "order_completed", "event_time": int(time.time() * 1000), "customer_id": customer, "source": "test",
        "cart_id": f"k-{customer}", "order_id": f"o-{number}-{customer}", "currency": "EUR", "total": "50.00", "products": [line],
    }  # fmt: skip


def buy(shop_now, customers, number, schema):
    """Orders in Avro, under this id; each has to be answered."""
    for customer in customers:
        record = order(customer, number)
        shop_now.fed[record["event_id"]] = time.monotonic()
        shop_now.feeder.raw("purchases", customer.encode(), framed(number, schema, record))
    shop_now.feeder.flush()


def with_field(schema, *fields):
    """A newer schema: fields more."""
    return {**schema, "fields": [*fields, *schema["fields"]]}


def without_fields(schema, *names):
    """An older schema: fields fewer."""
    return {**schema, "fields": [field for field in schema["fields"] if field["name"] not in names]}


GIFT = {"name": "gift_note", "type": ["null", {"type": "array", "items": "string"}], "default": None}


def test_avro_of_a_registry_beside_json_is_decided_as_replay_decides_it_all_in_json(shared_broker, registry, workspace):
    events = events_file(workspace, seed=41, count=6_000, customers=300)
    scenario = Scenario(shared_broker, workspace, events, registry=registry.address, avro=("clickstream", "purchases"))
    subjects = registry.call("GET", "/subjects")
    assert {f"{scenario.topics[stream]}-value" for stream in ("clickstream", "purchases")} <= set(subjects), subjects
    with scenario.live() as live:
        process = scenario.app.start("a").ready()
        reader.wait_read(shared_broker.address, scenario.name, scenario.inputs, 120)
        assert process.metric("tidegate_registry_requests_total", outcome="answered") == 2, "one question per schema"
        assert process.metric("tidegate_records_dead_lettered_total") == 0
        scenario.finish()
        scenario.judge(live)
    scenario.states_agree()
    told = command("doctor", "--config", scenario.app.config(), check=False).stdout
    assert f"has the subject {scenario.topics['purchases']}-value" in told, told
    assert told.count("all readable") >= 3, told


def test_while_the_registry_is_down_only_what_needs_it_stands_still_and_nothing_is_lost(shared_broker, registry, workspace):
    shop_now = shop.Live(shared_broker, workspace, after="3s", registry=registry.address, avro=("purchases",))
    subject = f"{shop_now.topics['purchases']}-value"
    known = registry.register(subject, shipped("purchases"))
    newer = with_field(shipped("purchases"), GIFT)
    unknown = registry.register(subject, newer)
    everybody = [f"c-{n}" for n in range(60)]
    held = partition(b"buyer", shop_now.partitions)
    beside = [c for c in everybody if partition(c.encode(), shop_now.partitions) != held]
    behind = [c for c in everybody if partition(c.encode(), shop_now.partitions) == held]
    assert len(beside) > 20 and len(behind) > 5
    with shop_now.read() as live:
        process = shop_now.app.start("a").ready()
        shop_now.identify([*everybody, "buyer"])
        buy(shop_now, everybody[:4], known, shipped("purchases"))
        shop_now.each_order_answered(live)
        registry.down()
        shop_now.leave_carts([*everybody[4:], "buyer"])
        buy(shop_now, ["buyer"], unknown, newer)
        # Behind it, in the same partition, and of a schema that is known: not folded before it.
        buy(shop_now, behind[-2:], known, shipped("purchases"))
        wait.until("the partition waits", lambda: process.metric("tidegate_inputs_waiting_for_schema") == 1, 20)
        wait.until("the registry was asked in vain", lambda: process.metric("tidegate_registry_requests_total", outcome="failed") >= 2, 20)
        # Other partitions of that input and other inputs of that partition go on; so do reminders where nothing is unread.
        buy(shop_now, beside[-3:], known, shipped("purchases"))
        answered = {event for event in shop_now.fed if event.startswith(f"avro-{known}-") and event.rsplit("avro-", 1)[1].split("-", 1)[1] not in behind[-2:]}

        def suppressed():
            return {v["cause"]["event_id"] for v in shop_now.verdicts(live, "suppress")}

        wait.until("other partitions decide", lambda: answered <= suppressed(), 30)
        reminded_beside = {c for c in beside if c not in everybody[:4] and c not in beside[-3:]}
        sent = lambda: {v["customer_id"] for v in shop_now.sent(live)}  # noqa: E731
        wait.until("others are reminded", lambda: reminded_beside <= sent(), 30)
        left = reader.unread(shared_broker.address, shop_now.name, shop_now.inputs)
        assert left == {(shop_now.topics["purchases"], held): 3}, "unread is what waits, and nothing else"
        assert sent() == reminded_beside, "CK-1: behind an order that is not read nobody is reminded"
        assert process.get("/readyz")[0] == 200
        assert "does not answer" in process.text and "buyer" not in process.text
        registry.up()
        shop_now.each_order_answered(live, 60)
        patient = {c for c in behind if c not in everybody[:4] and c not in behind[-2:]}
        wait.until("the rest is reminded", lambda: patient <= sent(), 30)
        assert sent() == reminded_beside | patient, "nobody who ordered is reminded"
        wait.until("nothing waits", lambda: process.metric("tidegate_inputs_waiting_for_schema") == 0, 20)
        assert "answers again" in process.text
        assert reader.read(shared_broker.address, [f"{shop_now.name}-dlq"]) == []
        shop_now.stop()


def test_schemas_may_change_while_it_runs_and_what_cannot_be_read_becomes_a_dead_letter(shared_broker, registry, workspace):
    shop_now = shop.Live(shared_broker, workspace, after="1h", registry=registry.address, avro=("purchases",))
    subject = f"{shop_now.topics['purchases']}-value"
    now = shipped("purchases")
    older = without_fields(now, "received_at", "schema_version", "test", "discount", "coupon")
    newer = with_field(now, GIFT, {"name": "store", "type": {"type": "enum", "name": "Store", "symbols": ["WEB", "APP"]}, "default": "WEB"})
    foreign = {"type": "record", "name": "Invoice", "fields": [{"name": "number", "type": "long"}]}
    customers = [f"c-{n}" for n in range(40)]
    bad = {
        "incompatible_schema": framed(registry.register(subject, foreign), foreign, {"number": 7}),
        "unknown_schema": framed(9_999_999, foreign, {"number": 7}),
        "unframed": b'{"type":"order_completed"}',
        "malformed": framed(registry.register(subject, now), now, order("c-1", 0))[:-3],
    }
    with shop_now.read() as live:
        process = shop_now.app.start("a").ready()
        shop_now.identify(customers)
        buy(shop_now, customers[:10], registry.register(subject, older), older)
        shop_now.each_order_answered(live)
        for number, value in enumerate(bad.values()):
            shop_now.feeder.raw("purchases", f"bad-{number}".encode(), value)
            buy(shop_now, customers[10 + 5 * number : 15 + 5 * number], registry.register(subject, now), now)
        buy(shop_now, customers[30:], registry.register(subject, newer), newer)
        shop_now.each_order_answered(live)
        shop_now.wait_read()
        letters = reader.read(shared_broker.address, [f"{shop_now.name}-dlq"])
        assert sorted(r.value for r in letters) == sorted(bad.values())
        for code in bad:
            assert process.metric("tidegate_records_dead_lettered_total", code=code) == 1, code
        said = {r.value: dict(r.headers)["__connect.errors.exception.message"].decode() for r in letters}
        assert "at `type`" in said[bad["incompatible_schema"]], said
        assert process.metric("tidegate_registry_requests_total", outcome="not_found") == 5, "a registry may not have read everything yet"
        assert process.alive()
        shop_now.stop()


def test_a_wrong_address_is_said_by_doctor_and_drains_nothing_into_the_dead_letters(shared_broker, registry, workspace):
    # Every page of a wrong address is a 404, too; only the registry's own word makes a schema unknown.
    wrong = registry.address.replace("/apis/ccompat/v7", "/nowhere")
    shop_now = shop.Live(shared_broker, workspace, after="1h", registry=wrong, avro=("purchases",))
    number = registry.register(f"{shop_now.topics['purchases']}-value", shipped("purchases"))
    process = shop_now.app.start("a").ready()
    buy(shop_now, ["c-1"], number, shipped("purchases"))
    wait.until("it was asked twice", lambda: process.metric("tidegate_registry_requests_total", outcome="failed") >= 2, 20)
    told = command("doctor", "--config", shop_now.app.config(), check=False)
    assert told.returncode == 1 and "registry.url" in told.stdout, told.stdout
    shop_now.app.settings = shop.settings(
        clock="live", partitions=4, flows=[shop.cart_flow("1h", "1m", "2h")], policy=shop.UNBOUND, quiet_hours="none", control_group="0%",
        registry=registry.address, avro=("purchases",),
    )  # fmt: skip
    process.stop()
    with shop_now.read() as live:
        shop_now.app.start("a").ready()
        shop_now.identify(["c-1"])
        wait.until("the order is folded", lambda: shop_now.verdicts(live, "suppress"), 30)
        shop_now.stop()
    assert reader.read(shared_broker.address, [f"{shop_now.name}-dlq"]) == []


def written_in_avro(shop_now, registry, channels, log):
    """Have these channels, and the decision log or not, written through the registry."""
    plain = shop_now.app.settings

    def settings(app, instance):
        made = plain(app, instance)
        for name in channels:
            made["channels"][name]["format"] = "avro"
        made["topics"]["decisions_format"] = "avro" if log else "json"
        return {**made, "registry": {"url": registry.address}}

    shop_now.app.settings = settings


def test_decisions_and_their_log_are_written_in_registered_schemas(shared_broker, registry, workspace):
    shop_now = shop.Live(shared_broker, workspace, after="1s")
    written_in_avro(shop_now, registry, ["email"], log=True)
    email, push, _ = shop_now.channels
    customers = [f"c-{n}" for n in range(10)]
    shop_now.app.start("a").ready()
    shop_now.identify(customers)
    shop_now.leave_carts(customers)

    def triggers():
        found = [registry.value(r) for r in reader.read(shared_broker.address, [email])]
        return [v for v in found if v["kind"] == "trigger"]

    wait.until("all are reminded, in Avro", lambda: {v["customer_id"] for v in triggers()} == set(customers), 30, every=0.2)
    shop_now.order(customers)
    shop_now.wait_read()
    in_json = {(v["cause"]["event_id"], v["reason"]) for v in reader.values(reader.read(shared_broker.address, [push]))}
    of_email = [registry.value(r) for r in reader.read(shared_broker.address, [email])]
    assert len(in_json) == 2 * len(customers)
    assert {(v["cause"]["event_id"], v["reason"]) for v in of_email if v["kind"] == "suppress"} == in_json, "Avro says what JSON says"
    log = [registry.value(r) for r in reader.read(shared_broker.address, [shop_now.log])]
    assert {v["decision_id"] for v in of_email} <= {v["decision_id"] for v in log}
    shop_now.stop()
    told = command("explain", "--config", shop_now.app.config(), "--customer", "c-3").stdout
    assert "cart_reminder" in told, told
    # Started again: the same ids, nothing new registered.
    versions = registry.call("GET", f"/subjects/{email}-value/versions")
    shop_now.app.start("a").ready().stop()
    assert registry.call("GET", f"/subjects/{email}-value/versions") == versions == [1]


def test_a_schema_that_the_registry_refuses_stops_the_start_with_a_sentence(shared_broker, registry, workspace):
    shop_now = shop.Live(shared_broker, workspace, after="1h")
    subject = f"{shop_now.channels[0]}-value"
    registry.register(subject, {"type": "record", "name": "Decision", "namespace": "tidegate", "fields": [{"name": "kind", "type": "long"}]})
    registry.compatibility(subject, "FULL")
    written_in_avro(shop_now, registry, ["email"], log=False)
    process = shop_now.app.start("a")
    assert process.ended(60) == 78, process.text
    assert f"refuses our schema for {subject} as incompatible" in process.text, process.text


def test_the_registry_may_stand_behind_tls_and_a_login_that_is_printed_nowhere(shared_broker, registry, workspace):
    directory = workspace / "gateway"
    directory.mkdir()
    secure.certificates(directory)
    # shop:sesame-open
    gateway = Gateway(registry.address, directory, {"Basic c2hvcDpzZXNhbWUtb3Blbg==", "Bearer sesame-token"})
    (directory / "token").write_text("sesame-token\n")
    shop_now = shop.Live(shared_broker, workspace, after="1h", registry=gateway.address, avro=("purchases",))
    plain = shop_now.app.settings

    def login(**more):
        shop_now.app.settings = lambda app, instance: {**plain(app, instance), "registry": {"url": gateway.address, **more}}
        return shop_now.app.config()

    def doctor(**more):
        done = command("doctor", "--config", login(**more), check=False)
        return next(line for line in done.stdout.splitlines() if "schema registry" in line), done.stdout + done.stderr

    said = []
    for more, wanted in [
        ({}, "TLS connection"),
        ({"ca": str(directory / "ca.pem")}, "answers 401"),
        ({"ca": str(directory / "ca.pem"), "user": "shop", "password": "sesame-wrong"}, "answers 401"),
        ({"ca": str(directory / "ca.pem"), "user": "shop", "password": "sesame-open"}, "subjects"),
    ]:
        line, text = doctor(**more)
        assert wanted in line, line
        said.append(text)
    assert gateway.refused == 2
    number = registry.register(f"{shop_now.topics['purchases']}-value", shipped("purchases"))
    config = login(ca=str(directory / "ca.pem"), token={"file": str(directory / "token")})
    said.append(command("config", "print", "--config", config).stdout)
    with shop_now.read() as live:
        process = shop_now.app.start("a").ready()
        shop_now.identify(["c-1"])
        buy(shop_now, ["c-1"], number, shipped("purchases"))
        shop_now.each_order_answered(live)
        said.append(process.text)
        shop_now.stop()
    gateway.close()
    assert not [text for text in said if "sesame" in text.replace("gateway/token", "")], "a secret was printed"
