"""Hostile input at every door of the car: no process ends, memory stays bounded.

python -m tests.fuzz --inputs 100000 --door mqtt
"""
