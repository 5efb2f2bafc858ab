"""The updater, three ways.

`simulation.py` is an updater without its process: real store, state file, ChangeRunner and RecognizerPeer
on a folder in memory. What surrounds them answers at once and in a known order: a clock that is set, a
recognizer whose memory is a file, a worker that takes the golden test for passed. A test moves the time
with `step` and `settle`, and ends a process by opening the same folder again, so a change can be killed
(test_change.py) or refused by the disk (test_refusing_disk.py) at every single operation, in seconds.

`offering.py` adds what brings models from afar: the bridge's OfferSubscriber, Offers, Fetcher and
CommandHandlers, on a broker that is a dictionary.

`conftest.py` has the same as real processes. What the simulation assumes of them, test_service.py and
test_following.py show. A fault found in a process belongs in the simulation first, where it is exact.
"""
