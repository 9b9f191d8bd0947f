"""`opentelemetry_resource_detector`: the experiment of this run on the resource, for backends that show resources."""

from __future__ import annotations

import logging

from opentelemetry.sdk.resources import Resource, ResourceDetector

from otel_research.errors import ResearchError
from otel_research.processes.carrier import Carried

_logger = logging.getLogger("otel_research")


class RunDetector(ResourceDetector):
    """What the environment says of the experiment: its name, its id where it is joined, its condition."""

    def detect(self) -> Resource:
        """`experiment.name`, `experiment.id` and `experiment.condition`, as far as the environment says them."""
        try:
            told = Carried.read()
        except ResearchError as error:
            _logger.error("otel_research: the resource does not name the experiment: %s", error)
            return Resource.get_empty()
        named = {
            "experiment.name": told.experiment,
            "experiment.id": told.experiment_id,
            "experiment.condition": told.condition,
        }
        return Resource({key: value for key, value in named.items() if value})
