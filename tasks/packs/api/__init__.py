"""Calls to APIs outside, with retries and guards: `tasks.api.call_external_api`, `fetch_json`, `post_json`."""

from tasks.packs.api.addresses import read_policy
from tasks.packs.api.calls import call_external_api, fetch_json, post_json
from tasks.packs.api.settings import API

__all__ = ["API", "call_external_api", "fetch_json", "post_json", "read_policy"]
