"""A broker with TLS, an authorizer and every way to log in: exactly the rights that `topics --acls` prints are enough, and `doctor` names one that is missing."""

import json

import pytest

from harness import secure, shop, topics, wait
from harness.app import command


@pytest.fixture(scope="module")
def secure_broker(workspace):
    broker = secure.SecureBroker(workspace / "kafka-secure")
    broker.up()
    yield broker
    broker.reset()


def granted(broker, shop_now):
    """What `topics --acls` prints for running: the bindings and the words that name them, once the broker has taken them in."""
    config = shop_now.app.config()
    rights = secure.sections(command("topics", "--acls", "--config", config).stdout)[""]
    broker.grant([binding for binding, _ in rights])
    wait.until("all rights have reached the broker", lambda: not missing(config), 20)
    return rights


def missing(config):
    """What is bad by `doctor`'s word, and the rights that it could not try."""
    done = command("doctor", "--json", "--config", config, check=False)
    findings = json.loads(done.stdout)
    bad = [f["found"] for f in findings if f["grade"] == "bad"]
    assert (done.returncode == 0) == (not bad), done.stderr
    return bad + [f["found"] for f in findings if f["what"] in ("right", "rights") and f["grade"] == "untold"]


def it_decides(shop_now):
    command("topics", "apply", "--config", shop_now.app.config())
    with shop_now.read() as live:
        process = shop_now.app.start("a").ready()
        customers = [f"c-{n}" for n in range(20)]
        shop_now.identify(customers)
        shop_now.order(customers)
        shop_now.each_order_answered(live)
        process.stop()


def test_with_the_printed_rights_it_runs_and_doctor_names_each_that_is_taken_away(secure_broker, workspace):
    shop_now = shop.Live(secure_broker, workspace, after="1h", kafka=secure_broker.kafka, apply=False)
    config, rights = shop_now.app.config(), granted(secure_broker, shop_now)
    it_decides(shop_now)
    assert missing(config) == []
    for binding, words in rights:
        secure_broker.take_back(binding)
        # What cannot be tried without it is told as untried, and nothing else is missing: the one before has come back.
        wait.until(f"doctor misses {words}", lambda w=words: [f for f in missing(config) if f.startswith("missing")] == [f"missing: {w}"], 30)
        secure_broker.grant([binding])


def test_with_the_rights_printed_for_a_command_it_works_and_names_one_that_is_missing(secure_broker, workspace):
    shop_now = shop.Live(secure_broker, workspace, after="1h", kafka=secure_broker.kafka, apply=False)
    config = shop_now.app.config()
    granted(secure_broker, shop_now)
    it_decides(shop_now)
    shop_now.feeder.raw("purchases", b"c-0", b"no event")
    process = shop_now.app.start("a").ready()
    shop_now.wait_read()
    process.leave()
    events = workspace / "one.jsonl"
    events.write_text('{"event_id":"e","type":"product_viewed","event_time":"2026-11-01T10:00:00Z","customer_id":"c-0","source":"t","product_id":"p"}\n')
    # Which right is missed, and what each then says.
    tried = {
        "dlq list, dlq replay": ("Read on the topic", [(["dlq", "list"], "1 dead letters"), (["dlq", "replay"], "0 handed on")]),
        "explain": ("Read on the topic", [(["explain", "--customer", "c-0"], "are theirs")]),
        "feed, erase": (
            "Write on the topic",
            [(["feed", "--events", events], "1 events published"), (["erase", "--customer", "c-0", "--yes"], "published")],
        ),
        "reset": ("a right", [(["reset", "--yes"], "")]),
    }

    def said(words):
        done = command(*words, "--config", config, check=False)
        return done.returncode, done.stdout + done.stderr

    def works(words, wanted):
        code, text = said(words)
        return code == 0 and wanted in text

    printed = secure.sections(command("topics", "--acls", "--config", config).stdout)
    assert set(printed) == {"", *tried}
    for of, (right, commands) in tried.items():
        for words, _ in commands:
            code, text = said(words)
            assert code == 70 and f"{right} is missing; `tidegate topics --acls` prints" in text and shop_now.name in text, f"{words}: {code} {text}"
        secure_broker.grant([binding for binding, _ in printed[of]])
        for words, wanted in commands:
            wait.until(f"{words} works", lambda words=words, wanted=wanted: works(words, wanted), 20)


@pytest.mark.parametrize("way", ["PLAIN", "OAUTHBEARER", "mTLS"])
def test_it_logs_in_as_the_bus_wants_it(secure_broker, workspace, way):
    shop_now = shop.Live(secure_broker, workspace, after="1h", kafka=secure_broker.ways[way], apply=False)
    granted(secure_broker, shop_now)
    it_decides(shop_now)
    assert missing(shop_now.app.config()) == []


def test_a_password_is_printed_nowhere(secure_broker, workspace):
    shop_now = shop.Live(secure_broker, workspace, after="1h", kafka=secure_broker.kafka, apply=False)
    wrong = json.loads(json.dumps(secure_broker.kafka))
    wrong["properties"]["sasl.password"] = "not the password"
    shop_now.app.settings = shop.settings(clock="live", partitions=4, kafka=wrong)
    done = command("doctor", "--config", shop_now.app.config(), check=False)
    said = done.stdout + done.stderr + command("config", "print", "--config", shop_now.app.config()).stdout
    assert done.returncode == 1 and "SASL authentication error" in done.stdout and "kafka.properties" in done.stdout, said
    begun = command("run", "--config", shop_now.app.config(), check=False)
    said += begun.stdout + begun.stderr
    assert begun.returncode == 70 and "SASL authentication error" in said, "starting again would not help"
    shop_now.app.settings = shop.settings(clock="live", partitions=4, kafka={**secure_broker.kafka, "properties": {**secure_broker.kafka["properties"], "ssl.ca.location": "/etc/ssl/certs/ca-certificates.crt"}})
    assert "certificate verify failed" in command("doctor", "--config", shop_now.app.config(), check=False).stdout
    assert "not the password" not in said and secure.PASSWORD not in said
