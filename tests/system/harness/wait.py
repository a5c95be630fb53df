"""Waiting: always for a thing, always with a bound."""

import time


class TimedOut(AssertionError):
    """What was waited for did not come within its bound."""


def until(what, condition, seconds, every=0.02):
    """Poll `condition` until it returns something true and return that; `what` names it in the failure."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise TimedOut(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(every)
