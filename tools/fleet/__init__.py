"""All cars on a broker: what they say of themselves, and a model rolled out to them in waves.

`fleet_state` keeps what the cars said, `listing` shows it. `plan` and `health` decide about a rollout without
touching anything, `rollout` does what they decide, and `rollout_note` remembers it on the broker.
"""
