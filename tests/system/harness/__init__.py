"""The ground under the system suite: a real broker, the real program, seeded events, and a reader that trusts neither."""
