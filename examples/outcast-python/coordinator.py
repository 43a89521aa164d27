"""The scheduled task: finds out which zones there are, and queues a task for each.

Python 3 and its standard library only. The platform sets PAYLOAD_FILE, RESULT_FILE, TASK_ID and IRON_*.
"""

import http.client
import json
import os
import re
import sys
import urllib.error
import urllib.request

TIMEOUT_S = 20
ZONE_TIMEOUT_S = 60


class Failure(Exception):
    """Why the worker could not do its work, in a line."""


def read_payload():
    try:
        with open(os.environ["PAYLOAD_FILE"], encoding="utf-8") as file:
            return json.loads(file.read().strip() or "{}")
    except ValueError as error:
        raise Failure(f"bad payload: {error}") from error


def write_result(result):
    path = os.environ.get("RESULT_FILE")
    if not path:
        print(json.dumps(result))
        return
    with open(path, "w", encoding="utf-8") as file:
        json.dump(result, file)


def needed(fields, name):
    if name not in fields:
        raise Failure(f"bad payload: missing field `{name}`")
    return fields[name]


def variable(name):
    value = os.environ.get(name)
    if not value:
        raise Failure(f"{name} is not set: run this as a task, or set it by hand")
    return value


def fetch(url, data=None, headers=None):
    """The body of an answer. With data it is a POST."""
    request = urllib.request.Request(url, data=data, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        raise Failure(f"{url} answered {error.code}{message_of(error.read())}") from error
    except (OSError, http.client.HTTPException) as error:
        raise Failure(f"no answer from {url}: {error}") from error


def message_of(body):
    """The `msg` of the platform's error answers."""
    try:
        message = json.loads(body)["msg"]
    except (ValueError, KeyError, TypeError):
        return ""
    return f": {message}"


def zone_id(text):
    upper = text.upper()
    if not re.fullmatch(r"[A-Z]{2}Z[0-9]{3}", upper, re.ASCII):
        raise Failure(f'"{text}" is not a zone id such as ANZ230')
    return upper


def zones(payload):
    """The zones in the payload, or in the list that it names, or in the list of the site."""
    site = needed(payload, "site")
    if payload.get("zones") is not None:
        found = [zone_id(zone) for zone in payload["zones"]]
    else:
        has_list = "{" not in site and "tgftp.nws.noaa.gov" not in site
        index = payload.get("index") or (site.rstrip("/") + "/zones.txt" if has_list else None)
        lines = fetch(index).decode("utf-8", "replace").splitlines() if index else []
        found = [zone_id(line.split()[0]) for line in lines if line.strip()]
    if not found:
        raise Failure('no zones: the site has no list, so the payload needs "index" (an address) or "zones" (a list)')
    return found


def queue(tasks):
    """Queues all tasks in one request, and returns their ids."""
    scheme = os.environ.get("IRON_SCHEME") or os.environ.get("IRON_PROTOCOL") or "https"
    port = os.environ.get("IRON_PORT")
    host = variable("IRON_HOST") + (f":{port}" if port else "")
    url = f"{scheme}://{host}/2/projects/{variable('IRON_PROJECT_ID')}/tasks"
    headers = {"Authorization": f"OAuth {variable('IRON_TOKEN')}", "Content-Type": "application/json"}
    if os.environ.get("TASK_ID"):
        # The second attempt of this task queues nothing that the first one has.
        headers["Idempotency-Key"] = os.environ["TASK_ID"]
    answer = json.loads(fetch(url, json.dumps({"tasks": tasks}).encode(), headers))
    return [task["id"] for task in answer["tasks"]]


def main():
    payload = read_payload()
    site, code_name = needed(payload, "site"), payload.get("code_name", "outcast-zone")
    tasks = [
        {
            "code_name": code_name,
            "payload": json.dumps({"zone": zone, "site": site}),
            "label": zone,
            "timeout": ZONE_TIMEOUT_S,
        }
        for zone in zones(payload)
    ]
    queued = len(queue(tasks))
    write_result({"queued": queued, "code_name": code_name, "site": site})
    print(f"queued {queued} tasks of {code_name} for {site}")


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"outcast-coordinator: {failure}")
