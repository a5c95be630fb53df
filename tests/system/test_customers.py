"""`/v1/customers/{id}`: the owner of a customer tells everything about them to whoever shows the token; another instance tells where to ask."""

import json
import urllib.error
import urllib.request

from harness import shop, wait

TOKEN = "a token of the system suite"
CUSTOMERS = [f"c-{n}" for n in range(16)]


class Unmoved(urllib.request.HTTPRedirectHandler):
    """Shows a redirection instead of following it."""

    def redirect_request(self, *_):
        return None


def ask(process, customer, token=TOKEN):
    """Status code, headers and body as an object."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"http://127.0.0.1:{process.port}/v1/customers/{customer}", headers=headers)
    try:
        with urllib.request.build_opener(Unmoved).open(request, timeout=10) as answer:
            return answer.status, answer.headers, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, error.headers, json.loads(error.read())


def test_the_owner_answers_and_others_name_it(shared_broker, workspace):
    shop_now = shop.Live(shared_broker, workspace, after="1h", http={"customers": {"token": TOKEN}})
    with shop_now.read() as live:
        one, two = [shop_now.app.start(name).ready() for name in ("a", "b")]
        shop_now.identify(CUSTOMERS)
        shop_now.leave_carts(CUSTOMERS)
        shop_now.order(CUSTOMERS[:8])
        shop_now.wait_read()
        shop_now.each_order_answered(live)

        def owners():
            """Who answers for whom, once every partition has said so; each instance sends on what it does not own."""
            found = {}
            for customer in CUSTOMERS:
                answers = [ask(process, customer) for process in (one, two)]
                if sorted(code for code, _, _ in answers) != [200, 307]:
                    return None
                owner = 0 if answers[0][0] == 200 else 1
                found[customer] = (owner, answers[owner][2], answers[1 - owner][1]["Location"])
            return found

        found = wait.until("each customer has one owner, which the other instance names", owners, 30)
        assert {owner for owner, _, _ in found.values()} == {0, 1}, "one instance owns everybody: this would prove less"
        for customer, (owner, body, location) in found.items():
            assert location == f"http://127.0.0.1:{(one, two)[owner].port}/v1/customers/{customer}"
            assert body["profile_key"] == f"c:{customer}"
            bought = customer in CUSTOMERS[:8]
            assert {block["reason"] for block in body["suppressions"]} == ({"purchased_relevant", "purchase_cooloff"} if bought else set())
            assert [flow["flow"] for flow in body["flows"]] == ([] if bought else ["abandoned_cart"])
            assert [timer["flow"] for timer in body["next_timers"]] == ([] if bought else ["abandoned_cart"])
            assert body["profile"]["reach"]["addresses"], "an address is what a support desk asks for"

        owner = (one, two)[found["c-0"][0]]
        assert ask(owner, "c-0", token=None)[0] == 401
        assert ask(owner, "c-0", token=TOKEN + "x")[0] == 401
        assert {ask(process, "nobody")[0] for process in (one, two)} == {404, 307}
        shop_now._event("merged", "c-15", {"into": "c-14"})
        shop_now.feeder.flush()
        was = (one, two)[found["c-15"][0]]
        wait.until("a merged customer is looked for under the other id", lambda: ask(was, "c-15")[1]["Location"] == "/v1/customers/c-14", 20)
        assert ask(was, "c-15")[2] == {"merged_into": "c-14"}
        for process in (one, two):
            assert TOKEN not in process.text and "c-0@shop.test" not in process.text
        shop_now.stop()


def test_it_is_off_by_default(shared_broker, workspace):
    shop_now = shop.Live(shared_broker, workspace, after="1h")
    process = shop_now.app.start("a").ready()
    assert ask(process, "c-0")[0] == 404
    shop_now.stop()
