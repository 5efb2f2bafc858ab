"""Ways to carry a frame from one process to others: ours, and those it is measured beside.

A carrier is a module with a `SENDER` and a `RECEIVER` (`carrier`). `program` runs either in a process of its
own, under the Python that has what the carrier needs. `carry` starts the processes and gathers their figures.
"""
