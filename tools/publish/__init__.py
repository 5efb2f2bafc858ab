"""Publishing: models offered to every car of a broker, and what the cars answer.

`mqtt_client` is the connection, `signing` makes the release, `retained_model` knows what stands on the
broker, `publication` puts a release there whole, `responses` hears the cars. `publishing` is
`smartcar model publish`.
"""
