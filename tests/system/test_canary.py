"""No customer's id, address, key or payload in any log, metric, status or error text."""

import json
import secrets

from harness import app as apps
from harness import feed, generate, shop


def test_a_marker_in_every_customer_field_never_shows_in_logs_metrics_or_errors(shared_broker, workspace):
    marker = f"cnry{secrets.token_hex(6)}"
    shop_now = shop.Live(shared_broker, workspace, after="1s", log="trace")
    printed = []
    made = list(generate.Shop(3, customers=300, events=4000, marker=marker).events(4000))
    with shop_now.read() as live:
        process = shop_now.app.start("a").ready()
        for event in made:
            shop_now.feeder.event({**event, "event_time": feed.now_text()})
        # Errors too: what is wrong in these is wrong beside the marker, or in it.
        for number, value in enumerate(
            (
                f'{{"event_id":"{marker}","type":"{marker}","event_time":"{marker}","customer_id":"{marker}"}}',
                f'{{"event_id":"{marker}","type":"order_completed","event_time":"2026-01-01T00:00:00Z","customer_id":["{marker}"]}}',
                f'{{"event_id":"{marker}","type":"order_completed","event_time":"2026-01-01T00:00:00Z","customer_id":"{marker}","properties":{{"total":"{marker}"}}}}',
                f"{marker} is no JSON",
                f'{{"{marker}":',
            )
        ):
            shop_now.feeder.raw("purchases", f"{number}{marker}".encode(), value.encode())
        shop_now.feeder.flush()
        shop_now.wait_read()
        assert any(marker.encode() in (r.key or b"") for r in live.records), "the marker went through the decisions, so there was something to leak"
        for path in ("/metrics", "/status", "/readyz", "/livez"):
            printed.append((path, process.get(path)[1]))
        shop_now.stop()
    shop.lose_disk(shop_now.app, "a")
    again = shop_now.app.start("a").ready()
    printed.append(("/metrics", again.get("/metrics")[1]))
    again.stop()
    # The offline commands: what they say on stderr, errors included. (Decisions on stdout are customer data by purpose.)
    path = generate.write(workspace / "canary.jsonl", made[:500])
    with open(path, "a", encoding="utf-8") as out:
        out.write(json.dumps({"event_id": marker, "type": "order_completed", "event_time": marker, "customer_id": marker}) + "\n" + marker + "\n")
    replayed = apps.command("replay", "--config", shop_now.app.config(), "--events", path, "--decisions", workspace / "canary.out", check=False)
    printed.append(("replay", replayed.stderr))
    verified = apps.command("state", "verify", "--config", shop_now.app.config(), check=False)
    printed.append(("state verify", verified.stdout + verified.stderr))
    printed += [(str(log), log.read_text(errors="replace")) for log in {p.log for p in shop_now.app.processes}]
    assert sum(len(text) for _, text in printed) > 2000, "there was something to read"
    leaks = [(where, line[:300]) for where, text in printed for line in text.splitlines() if marker in line]
    assert not leaks, leaks[:5]
