"""Registers the administrator of the Weir at $url with $setup_token, gives it something to show, prints its access token."""

import json
import os
import urllib.request


def call(path, body, token=None):
    headers = {"content-type": "application/json"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    request = urllib.request.Request(os.environ["url"] + "/api/v1/" + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


keeper = {"username": "keeper", "email": "keeper@example.org", "password": "a river runs through it"}
token = call("auth/register", keeper | {"setup_token": os.environ["setup_token"]})["access_token"]
# The examples of the document name this handle.
call("channels", {"handle": "ada", "title": "Engines"}, token)
print(token)
