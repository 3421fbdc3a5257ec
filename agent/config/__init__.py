"""One YAML file, checked before any device is opened."""

from agent.config.schema import RunConfig, load

__all__ = ["RunConfig", "load"]
