"""The car's MQTT interface in writing: docs/mqtt.md and docs/asyncapi.json, generated from the tables."""
