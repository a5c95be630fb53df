"""A broker with TLS, SCRAM and an authorizer: exactly the rights that `topics --acls` prints are enough, and `doctor` names one that is missing."""

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


def test_with_the_printed_rights_it_runs_and_doctor_names_each_that_is_taken_away(secure_broker, workspace):
    shop_now = shop.Live(secure_broker, workspace, after="1h", kafka=secure_broker.kafka, apply=False)
    config = shop_now.app.config()
    printed = command("topics", "--acls", "--config", config).stdout.splitlines()
    rights = [secure.acl(line) for line in printed]
    secure_broker.grant([binding for binding, _ in rights])

    def missing():
        done = command("doctor", "--json", "--config", config, check=False)
        findings = json.loads(done.stdout)
        bad = [f["found"] for f in findings if f["grade"] == "bad"]
        assert (done.returncode == 0) == (not bad), done.stderr
        return bad + [f["found"] for f in findings if f["what"] in ("right", "rights") and f["grade"] == "untold"]

    wait.until("all rights have reached the broker", lambda: not missing(), 20)
    command("topics", "apply", "--config", config)
    with shop_now.read() as live:
        process = shop_now.app.start("a").ready()
        customers = [f"c-{n}" for n in range(20)]
        shop_now.identify(customers)
        shop_now.order(customers)
        shop_now.each_order_answered(live)
        process.stop()
    assert missing() == []
    for binding, words in rights:
        secure_broker.take_back(binding)
        # What cannot be tried without it is told as untried, and nothing else is missing: the one before has come back.
        wait.until(f"doctor misses {words}", lambda w=words: [f for f in missing() if f.startswith("missing")] == [f"missing: {w}"], 30)
        secure_broker.grant([binding])


def test_a_password_is_printed_nowhere(secure_broker, workspace):
    shop_now = shop.Live(secure_broker, workspace, after="1h", kafka=secure_broker.kafka, apply=False)
    wrong = json.loads(json.dumps(secure_broker.kafka))
    wrong["properties"]["sasl.password"] = "not the password"
    shop_now.app.settings = shop.settings(clock="live", partitions=4, kafka=wrong)
    done = command("doctor", "--config", shop_now.app.config(), check=False)
    said = done.stdout + done.stderr + command("config", "print", "--config", shop_now.app.config()).stdout
    assert done.returncode == 1 and "brokers" in done.stdout, said
    assert "not the password" not in said and secure.PASSWORD not in said
