"""Publishing: models offered to every car of a broker, and what the cars answer.

`link` is the connection, `signing` makes the release, `shelf` knows what stands on the broker, `publication`
puts a release there whole, `answers` hears the cars. `smartcar model publish` is `tools/publish/command.py`.
"""
