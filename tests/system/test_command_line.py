"""What a person meets first: errors with places, exit codes that a supervisor understands."""

import json
import re

from harness import app as apps
from harness import shop


def test_everything_wrong_in_a_configuration_is_said_at_once_with_its_place(shared_broker, workspace):
    directory = workspace / "broken"
    directory.mkdir()
    good = json.dumps({"flow": "f", "class": "nobody", "instance": "customer", "steps": []})
    (directory / "flow.yaml").write_text(good)
    config = directory / "tidegate.yaml"
    config.write_text(
        "app: { id: 'no spaces allowed', state_dir: state }\n"
        "kafka: { bootstrap: 'localhost:9092', properties: { isolation.level: read_uncommitted } }\n"
        "shop: { currency: EUR, time_zone: Europe/Atlantis }\n"
        "identity: { address_key: short }\n"
        "inputs: [{ stream: clicks, topic: c, key: customer_id }]\n"
        "channels: { email: { quiet_hours: sometimes } }\n"
        "flows: flow.yaml\n"
        "commits: { max_records: 1 }\n"
    )
    done = apps.command("validate", "--config", config, check=False)
    assert done.returncode == 78
    text = done.stdout + done.stderr
    places = set(re.findall(r"tidegate\.yaml:(\d+):\d+", text))
    # One line each, the missing control group too.
    assert {"1", "2", "3", "4", "5", "6", "8"} <= places, text
    assert "control_group" in text


def test_exit_codes_tell_a_supervisor_what_helps(shared_broker, workspace):
    assert apps.command(check=False).returncode == 2
    assert apps.command("fly", check=False).returncode == 2
    assert apps.command("run", "--config", workspace / "nowhere.yaml", check=False).returncode == 78
    version = apps.command("--version")
    assert re.match(r"tidegate \d+\.\d+\.\d+", version.stdout)


def test_the_shipped_configuration_and_flows_are_sound(shared_broker):
    apps.command("validate", "--config", apps.ROOT / "deploy" / "local" / "tidegate.yaml")


def test_topics_are_made_as_the_engine_needs_them_and_making_them_again_changes_nothing(shared_broker, workspace):
    from harness import topics

    shop_now = shop.Live(shared_broker, workspace, after="1h")
    apps.command("topics", "apply", "--config", shop_now.app.config())
    found = {name: topics.settings(shared_broker.address, name) for name in topics.names(shared_broker.address) if name.startswith(shop_now.name)}
    changelog = found[f"{shop_now.name}-profiles-changelog"]
    assert changelog["cleanup.policy"] == "compact" and int(changelog["delete.retention.ms"]) == 7 * 24 * 3600 * 1000
    assert found[f"{shop_now.name}-blocks"]["cleanup.policy"] == "compact"
    assert found[f"{shop_now.name}-events"]["retention.ms"] == "-1"
    for name in found:
        assert topics.partitions(shared_broker.address, name) == shop_now.partitions, name
